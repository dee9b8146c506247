"""Crisis words: text that speaks of dying or of harming oneself, in English and Spanish. Pure.

The patterns are broad on purpose: a staff member reads each match, and a false alert costs a minute. They do not match
everyday phrases about pain ("the pain is killing me", "I hurt myself lifting a box") or a clinician's negative finding
("denies suicidal ideation"), because staff soon ignore alerts that are mostly false.

Patterns stand by kind, each with texts that must and that must not match; a test reads them. A new phrase goes to its
kind, with an example, in every person and tense: patients write about themselves, family and clinicians about them.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from crm.core.text import clean, fold


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to speak of a crisis: its patterns, in text as `fold` leaves it, and examples in text as people write it."""

    name: str
    patterns: Sequence[str]
    right: Sequence[str]  # a crisis
    wrong: Sequence[str]  # no crisis


_SELF = r"(?:my ?self|him ?self|her ?self|them ?sel(?:f|ves)|our ?selves)"
_WHO = r"(?:i|he|she|they)"
_OWN = r"(?:my|his|her|their)"
_NOT = r"(?:dont|do not|doesnt|does not|didnt|did not|no longer|not|never)"
_CANNOT = r"(?:cant|cannot|can not|couldnt|could not)"
_ANYMORE = r"(?:any ?more|any longer)"
_GO_ON = r"(?:go on|carry on)(?= *$| (?:like|living|any|this|another|with (?:this|my) (?:life|pain))\b)"
_LIVE = rf"(?:(?:live|be alive|be here|exist|keep living)(?! (?:near|in(?! (?:this )?pain)|at|for|until|past|with(?! this)) )|{_GO_ON})"
_INTENT = r"(?:want|wants|wanted|going|gonna|trying|tried|tempted|plan|plans|planning|urges?|might|afraid (?:i|he|she)(?:ll| will| might| may)|think(?:ing)? (?:of|about)|thoughts? (?:of|about)|thought about|feel\w* like|need)"

_DRUGS = r"(?:medications?|meds|medicines?)"
_PILLS = rf"(?:pills?|tablets?|pain ?killers?|oxy\w*|opioids?|sleeping pills?|{_DRUGS})"
_MANY = r"(?:[1-9]\d+|ten|fifteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundreds?|dozens?)"
_OVER_TIME = r"(?!.*\b(?:a|per|each|every|over|in|during|for|this|last) (?:\w+ )?(?:days?|weeks?|months?)\b|.*\bdaily\b)"
_AS_TOLD = r"(?! (?:as|on time|on schedule|every|each|daily|in the (?:morning|evening))\b)"

_JOKE = r"(?! de (?:risa|pena|hambre|verguenza|la risa|sueno))"
_QUIERE = (
    r"(?:quier[oae]\w*|quisiera|queria|voy a|vas a|va a|iba a|piens[oa](?: en)?|pense en|pensando en|pensado en|pensamientos de"
    r"|ganas de|intent\w+|trat\w+ de|dese[oa]|preferiria|planea\w*|(?:me|le) gustaria)"
)
_MATAR = r"(?:matar|morir|suicidar|ahorcar|colgar|envenenar|quitar la vida|hacer dano|lastimar|cortar las venas|pegar un tiro)"
_PASTILLAS = r"(?:pastillas|pildoras|tabletas|medicinas|medicamentos)"
_NO_QUIERE = r"no (?:quier[oae]|dese[oa]|quisiera|queria|querer)"
_CONTINUAR = r"(?! con (?:el|la|las|los|mi|su) )"

KINDS = (
    Kind(
        name="suicide by name",
        patterns=(
            r"suicid\w*", r"unaliv\w+", r"autolesi\w+",
            r"(?:active|passive|endors\w+|positive|has|have|had|reports?|reporting|admits(?: to)?|express\w+|with) (?:active |passive |current |chronic |fleeting )*si(?: hi)?"
            r"(?! (?:joints?|(?:joint )?pain|belts?|injections?|fusion|dysfunction|inflammation|arthritis|region|blocks?|area|ligaments?|tenderness|strain|instability|issues?|problems?|tests?|testing|provocation|screws?|compression|radi\w+)\b)",
            r"si with (?:a )?(?:plan|intent)", r"si hi",
        ),
        right=("pt has SI with plan", "Active SI.", "Patient reports passive SI", "tengo ideas suicidas", "SI/HI present"),
        wrong=("active SI joint inflammation", "positive SI joint test", "endorses SI joint pain", "pt has SI pain on the left", "No SI/HI"),
    ),
    Kind(
        name="wish to die",
        patterns=(
            r"(?:want|wants|wanted|wanting|wish|wishes|hope|hopes|hoping|pray\w*|ready|prefer|plan|plans|planning|trying|tried|going|like|love|deserves?) to (?:just )?(?:die|be dead|stop (?:living|existing))",
            r"wanna (?:just )?(?:die|be dead)", r"(?:id|hed|shed|would|i d|he d|she d) rather (?:be dead|die|not be alive)", r"rather be dead",
            r"wish(?:es|ed)? " + _WHO + r" (?:was|were|wasnt|werent|had) (?:dead|gone|alive|here any ?more|never (?:been )?born|not alive)",
            r"wish(?:es|ed)? " + _WHO + r" (?:could|would|can) (?:just )?(?:die|be dead|disappear|stop (?:living|existing))",
            r"(?:hop(?:e|es|ed|ing)|pray\w*) (?:that )?" + _WHO + r" (?:just |will )?dies?",
            r"(?:feel|feels|felt|feeling) like (?:dying|ending (?:it|" + _OWN + r" life))",
            r"better off (?:dead|without (?:me|him|her))", r"better (?:off )?if " + _WHO + r" (?:was|were) (?:dead|gone|not here)", r"better without me",
            r"(?:thoughts?|thinking|thought|dream\w*|fantas\w*) (?:of|about) (?:death|dying|ending (?:it|things|" + _OWN + r" life)|not being here)",
            r"(?:want\w*|going) to (?:do the same|follow (?:him|her|them)|be with (?:him|her|them)) (?:in (?:death|heaven)|too)",
            r"(?:want|wish|hop|pray|could|just|sleep)\w* (?:\w+ ){0,6}?(?:not|never|dont|do not|doesnt|wont) (?:to )?(?:ever )?wakes? up(?! (?:early|late|tired|stiff|sore|rested|refreshed|until|before|with|in|at|so|my|the|every|several|as)\b)",
            _NOT + r" (?:ever )?(?:wants?|wanna|wish(?:es)?) (?:to )?(?:ever )?wake up(?! (?:early|late|tired|stiff|sore|rested|refreshed|until|before|with|in|at|so|my|the|him|her|every|several|as)\b)",
            _NOT + r" cares? (?:if|whether) " + _WHO + r" (?:lives?|dies?|wakes?)", r"would(?:nt| not) mind (?:dying|not waking|being dead)",
            r"death (?:would|will|is) (?:be )?(?:a relief|better|easier|the only)",
        ),
        right=(
            "I want to be dead", "patient wishes to be dead", "I wish I could die", "She wishes she was dead", "hope I die in my sleep",
            "I feel like dying", "I hope I never wake up", "She doesn't want to wake up",
        ),
        wrong=("I never wake up rested", "I don't wake up until noon", "I do not want to die of cancer", "I feel like I am a new person"),
    ),
    Kind(
        name="end of one's life",
        patterns=(
            r"(?:kill|kills|killing|killed) " + _SELF + r"(?! (?:working|at work|at the gym|trying|to (?:get|make|keep|do|pay)))",
            r"(?:end|ending|ended|ends) (?:" + _OWN + r" (?:own )?(?:life|lives)|it all|it tonight|it for good|everything for good)",
            r"(?:take|taking|took|takes) " + _OWN + r" own life", r"take my life",
            r"(?:farewell|goodbye|good bye|suicide) (?:letter|note|forever)", r"(?:said|saying|say) (?:my )?(?:last|final) good ?byes?",
        ),
        right=("he is going to end his life", "She tried to kill herself", "I can't promise I'm not going to kill myself"),
        wrong=("I'm not going to kill myself", "I have been killing myself working two jobs", "She is not planning to end her life"),
    ),
    Kind(
        name="no wish to live",
        patterns=(
            _NOT + r" (?:really |even )?(?:want|wants|wanted|wanna|wish|wishes|care|cares) (?:to )?" + _LIVE,
            _NOT + r" (?:wants? to|wanna) (?:keep going|do life)",
            r"(?:not sure|unsure|dont know|doesnt know|wonder\w*) (?:if |whether |that )?" + _WHO + r" (?:really |still |even )?(?:wants?|cares?) to " + _LIVE,
            _CANNOT + r" " + _GO_ON,
            _CANNOT + r" (?:keep|continue|go on|carry on) (?:on )?(?:living|existing|being alive)(?! (?:at|in|here|with (?:my|his|her)) )",
            _CANNOT + r" live (?:like this|this way)", _CANNOT + r" live (?:with|in)(?! (?:my|his|her) (?!pain|body|life)) (?:\w+ ){1,2}" + _ANYMORE,
            _CANNOT + r" (?:take|do|live|stand) (?:it|this|life|like this) " + _ANYMORE,
            r"(?:tired|sick) of (?:living|life|being alive)", r"done with (?:life|living)", r"(?:give|gives|giving|given|gave) up on (?:life|living)",
            r"(?:(?:no|any|without|a)|(?:whats|what is|sees?|seeing) the|(?:lost|lose|losing) (?:the|all|any|" + _OWN + r")) (?:reason|point|purpose|will|desire|use) (?:to|in|for|of) (?:live|living|life|going on|go on|being alive|continuing|carry on|carrying on|wak\w+ up)",
            r"nothing (?:left )?to live for", r"not worth living",
            r"life (?:isnt|is not|is no longer|is hardly|is barely|doesnt (?:feel|seem)|not) worth (?:living|it)", r"is (?:my |this )?life (?:even |still |really )?worth living",
            r"(?:dont|doesnt|not|never) (?:\w+ ){1,3}life is worth (?:living|it)",
            r"(?:everyone|everybody|they|family|world|kids|people) (?:would|will|d|is|are|ll) (?:all )?be better off",
            r"(?:nobody|no one) (?:would|will|d) (?:even )?(?:miss me|notice if|care if i (?:died|was gone))",
        ),
        right=(
            "She doesn't want to live", "he no longer wants to live", "he doesn't want to be here anymore", "not sure I want to live anymore",
            "what's the point of living anymore", "I have lost the will to live", "I can't keep living like this",
            "I can't live with this pain anymore", "I do not want to live with this pain", "I don't think life is worth living", "I do not want to go on",
        ),
        wrong=("life is worth living", "I do not want to go on opioids", "She doesn't want to live with her mother", "I have the will to live", "I can't live with my mother anymore"),
    ),
    Kind(
        name="method",
        patterns=(
            r"over ?dos\w+",
            r"(?:took|takes?|taken|taking|swallow\w*|ate|down(?:ed|ing)?) (?:too many|an? (?:whole |full |entire )?(?:bottle|handful|box) of|the (?:whole|entire) bottle of) (?:of )?(?:(?:my|the|his|her|their|those) )?" + _PILLS,
            r"(?:whole|entire) bottle of (?:" + _OWN + r" )?" + _PILLS,
            r"(?:took|takes?|taken|taking|swallow\w*|ate|down(?:ed|ing)?) (?:all|every one of) (?:of )?(?:my|the|his|her|their|those) (?!" + _DRUGS + r" (?:this morning|today|yesterday|already|before|with)\b)" + _PILLS + _AS_TOLD,
            r"(?:took|taken|(?:going|want|wants|wanted|plan\w*|about|ready) to take|swallow\w*|ate|down(?:ed|ing)?) " + _MANY + r" (?:of )?(?:(?:my|the|his|her|their) )?" + _PILLS + _OVER_TIME,
            r"(?:hang|hanging|hanged|hung|shoot|shooting|shot|drown|drowning|poison|strangle|suffocate|stab)(?:ed|bed)? " + _SELF + r"(?! in (?:work|debt|the foot))",
            r"jump(?:s|ed|ing)? (?:off|from) (?:a|the|my) (?:\w+ )?(?:bridge|building|roof|balcony|cliff|overpass)",
            r"(?:jump(?:s|ed|ing)?|step|walk|run|throw\w*|drive|" + _INTENT + r" (?:stepp|walk|runn|driv)ing) (?:\w+ ){0,2}(?:in front of|into|under) (?:a |the )?(?:train|traffic|truck|bus|oncoming)",
            r"gun (?:to|in) " + _OWN + r" (?:head|mouth)", r"bullet (?:in|through) " + _OWN, r"(?:blow|blew) " + _OWN + r" (?:brains?|head)",
            r"(?:slit|slash|slashed|cut)(?:ting)? " + _OWN + r" wrists?", r"(?:rope|noose) around " + _OWN + r" neck",
        ),
        right=(
            "he took a whole bottle of his pills", "he swallowed thirty pills", "I took all my pills last night", "She slit her wrists", "I took 40 tablets",
            "thinking of jumping in front of a train", "he hanged himself last night but survived", "She took all her medication at once",
        ),
        wrong=(
            "I take 20 pills a day and want to reduce", "I took all my medications this morning", "I took 10 tablets of ibuprofen over five days",
            "I take all my pills as prescribed", "Narcan for overdose reversal", "I was driving into traffic when a bus hit me",
        ),
    ),
    Kind(
        # With the intent said, because injuries by accident are a pain clinic's daily bread.
        name="harm to oneself",
        patterns=(
            _INTENT + r" (?:to )?(?:hurt|harm|cut|injur|punish)(?:e|ing|t?ting)? " + _SELF,
            r"self ?(?:harm|injur|mutilat)\w*", r"(?:harm|harming) " + _SELF, r"cutting " + _SELF + r"(?! (?:off|some slack|while|shaving|cooking))",
            r"(?:hurt|cut)(?:ting|ing)? " + _SELF + r" (?:on purpose|again to feel|to (?:feel|cope))",
        ),
        right=("I might hurt myself", "My daughter has been cutting herself", "he plans to hurt himself"),
        wrong=("I hurt myself lifting a box", "I cut myself cooking", "I don't want to hurt myself again at the gym"),
    ),
    Kind(
        name="Spanish: wish to die",
        patterns=(
            r"(?:me|se|te) " + _QUIERE + r" (?:a )?" + _MATAR + _JOKE,
            _QUIERE + r" (?:matar[mst]e|morir(?:[mst]e)?|suicidar[mst]e|desaparecer(?! (?:el|la|mi|este) )|dejar de (?:vivir|existir)|no despertar\w*|estar muert[oa])" + _JOKE,
            r"quitar(?:me|se)? (?:me )?la vida", r"(?:acabar|terminar|acabo|termino) con (?:mi vida|su vida|todo(?! el))",
            r"ojala (?:que )?(?:ya )?(?:(?:me|se) (?:muer|muri)\w+|no (?:despierte|despertara|amanezca)|estuviera muert[oa])",
            r"mejor (?:estar |estaria |estoy |esta )?muert[oa]", r"(?:estarian|estaran|estan|estaria) mejor sin mi", r"a nadie le importaria si (?:me )?muer\w+",
            r"carta de despedida",
        ),
        right=("me quiero ahorcar", "se va a ahorcar", "he intentado matarme", "ojalá me muera", "me gustaría morir", "Dice que quiere morirse", "mi esposo se quiere matar"),
        wrong=("me quiero morir de risa", "el dolor me mata", "no quiero morir de cáncer", "nunca he intentado matarme"),
    ),
    Kind(
        name="Spanish: no wish to live",
        patterns=(
            r"(?:sin|no (?:tengo|tiene|tenia|siento|siente|hay)) (?:ya )?ganas de (?:vivir|seguir)" + _CONTINUAR, r"ya no (?:tengo|tiene) ganas de nada", r"perdi\w* (?:\w+ ){0,2}ganas de vivir",
            _NO_QUIERE + r" (?:ya )?(?:vivir|seguir viviendo|seguir (?:asi|con vida)|despertar\w*|existir|estar (?:viv[oa]|aqui))(?! (?:lejos|cerca|en|sin|con(?! (?:est[ea]|tanto) )) )",
            r"(?:cansad|hart)[oa] de (?:vivir|la vida|existir)(?! (?:en|lejos|cerca) )",
            r"(?:ya no (?:aguant[oa]|soport[oa])|no pued[oe]) mas(?! (?:de|que|el|la|este|esta|estos|mi|con(?! (?:(?:la|mi|su|esta) vida|todo|esto)\b)) )",
            r"no vale la pena (?:vivir|seguir)" + _CONTINUAR, r"no (?:le )?(?:ve|veo|encuentr[oa]) (?:el |ningun )?sentido (?:a|de|en) (?:vivir|(?:la|mi|su) vida)",
            r"(?:la|mi|su) vida (?:ya )?no (?:vale|tiene sentido|(?:me|le) importa)", r"(?:no (?:tengo|tiene)|sin) (?:ninguna )?(?:razon|razones|motivos?) (?:para|de) (?:vivir|seguir)",
        ),
        right=(
            "Dice que ya no quiere vivir", "La paciente no quiere seguir viviendo", "mi hijo no tiene ganas de vivir", "ya no quiero vivir con este dolor",
            "Estoy cansada de vivir", "Ya no puedo más", "no puedo más con mi vida", "perdió las ganas de vivir", "no le veo sentido a la vida",
        ),
        wrong=("ya no puedo más con el dolor de espalda", "no puedo más con este dolor", "no quiere vivir con su hermana", "quiero vivir sin dolor"),
    ),
    Kind(
        name="Spanish: method and harm",
        patterns=(
            r"(?:" + _QUIERE + r" )?hacer(?:me|se) dano(?! (?:al|en|jugando|trabajando|levantando))", _QUIERE + r" lastimar(?:me|se)(?! (?:al|en|la|el|de nuevo|otra vez|jugando|trabajando))",
            r"cortarme(?! (?:el|las? unas|la barba|la mano|el pelo))", r"cortar(?:me|se) las venas", r"(?:me|se) (?:cort[oe]|cortaba|ha cortado|he cortado) (?:las venas|a proposito)",
            r"sobredosis", r"(?:me|se) (?:ahorco|ahorque|ahorcaba|enveneno|envenene)",
            r"(?:tom[eoa]|tomar(?:me|se)?|tomado|trag[oa]|trague|tragar(?:me|se)|tragado) (?:me )?(?:todas?|muchas|demasiadas|\d\d+|un (?:frasco|bote|punado)(?: entero| completo| lleno)?) (?:de )?(?:las |mis |sus |de )?" + _PASTILLAS
            + r"(?! (?:al|por|cada|a la|en la|todos|todas|diari\w+|que me)\b)",
            r"un (?:frasco|bote) (?:entero|completo) de (?:(?:mis|sus) )?" + _PASTILLAS,
            r"(?:ahorcar|colgar|ahogar|disparar|envenenar)(?:me|se)(?! (?:el|la) )", r"pegar(?:me|se) un tiro",
            r"(?:tirar|aventar|lanzar|arrojar)(?:me|se) (?:de|desde|a|al|del) (?:un |una |el |la |las )?(?:puente|edificio|techo|azotea|balcon|tren|vias|trafico)",
        ),
        right=("se tomó todas sus pastillas", "se cortó las venas", "tomé un frasco entero de pastillas", "quiero hacerme daño", "quiere lastimarse"),
        wrong=("tomo muchas pastillas al día", "no quiero lastimarme", "tengo miedo de lastimarme otra vez", "quiero cortarme el pelo"),
    ),
)  # fmt: skip
_CRISIS = re.compile(rf"\b(?:{'|'.join(pattern for kind in KINDS for pattern in kind.patterns)})\b")

# Said right before a phrase, these rule it out: "denies any suicidal ideation", "I am not going to kill myself".
_DENIED = re.compile(
    r"\b(?:not|never|no|nor|denies|denied|denying|deny|without|negative for|isnt|wasnt|arent|aint|dont|didnt|havent|hasnt|doesnt|free of|absence of|rules? out"
    r"|niega|niego|nego|negando|nunca|jamas|sin|tampoco|ausencia de)"
    r"(?: (?:i|am|is|are|be|been|being|currently|actively|at all|feel|feeling|feels|any|have|has|had|having|ever|a|of|or|and|the|history|homicidal|acute|active|passive|current|thoughts?|ideation|plan|plans|intent|hx|risk"
    r"|going to|gonna|planning to|trying to|tried to|thinking|about|suicidal|suicide|self harm|hi"
    r"|really|actually|estoy|soy|tengo|tener|tiene|he|ha|tenido|ideas?|ideacion|pensamientos?|historia|antecedentes|de|me|se|o|u|y|actual|activa|actualmente|suicidas?|autolesi\w+|pensando|pensado|en|el)){0,8} ?$"
)
_NOT_A_DENIAL = re.compile(
    r"\b(?:not|no|dont|sin) (?:just|only|merely|solo|solamente)\b|\b(?:never|nunca) more\b"
    r"|\b(?:cant|cannot|can not) (?:promise|say|guarantee|swear)\b|\b(?:not sure|unsure|dont know|no se si)\b"
)
_NOT_YET = re.compile(r" (?:yet|todavia|aun)\b")

# A finding, denied after it: "Suicidal ideation: denied", "Ideación suicida? No."
_FINDING = re.compile(r"suicid\w*|self ?harm\w*|autolesi\w+|(?:\w+ )*si(?: hi)?")
_FINDING_GOES_ON = re.compile(
    r"(?: (?:ideations?|thoughts?|ideas?|intent|plans?|attempts?|risk|hi|or|and|self harm|activa|actual|is|are|was|were|o|y|autolesi\w+))*"
)
_NONE = re.compile(
    r" ?(?:no|none|nil|neg|negative|denied|denies|absent|not present|ningun[oa]?|negad[oa]|negativ[oa]|nieg[oa]|ausente)"
    r"(?: (?:reported|noted|present|endorsed|at this time|today|currently|by patient|by pt))*$"
)
_CLAUSE = re.compile(
    r"[.!?;:\n]+|,|\b(?:but|pero|however|though|aunque|except|yet(?=\s+\w))\b", re.IGNORECASE
)

# A crisis word as a topic or about a person who is dead, not as a state of the patient.
_TOPIC = re.compile(
    r"\bsuicide prevention\b|\bprevencion del suicidio\b|\bsuicide (?:squad|awareness|hotline number)\b"
    r"|\bfamily (?:history|hx) of (?:suicid\w+|overdos\w+)|\bantecedentes familiares de suicidio\b"
    r"|\b(?:died|lost|death) (?:\w+ )?(?:by|to|from|of) (?:a |an )?(?:suicide|overdose)\b|\bmurio (?:por|de) (?:suicidio|sobredosis)\b"
    r"|\boverdose (?:reversal|prevention|education|awareness|rescue|kit)\b|\bprevencion de (?:la )?sobredosis\b"
)


def mentions_crisis(text: str | None) -> bool:
    """Tell whether a text, in English or Spanish, speaks of dying or of harming oneself."""
    if not text:
        return False
    folded = (fold(clause) for clause in _CLAUSE.split(clean(_without_unseen(text))))
    clauses = [clause for clause in folded if clause]
    return any(_clause_in_crisis(clause, after=after) for clause, after in pairwise([*clauses, ""]))


def _without_unseen(text: str) -> str:
    """Remove every sign that nobody sees, also those that some scripts spell with: none may hide a word."""
    return "".join(c for c in text if unicodedata.category(c) != "Cf")


def _clause_in_crisis(clause: str, *, after: str) -> bool:
    clause = _TOPIC.sub(" ", clause)
    return any(not _is_ruled_out(clause, match, after=after) for match in _CRISIS.finditer(clause))


def _is_ruled_out(clause: str, match: re.Match[str], *, after: str) -> bool:
    before, rest = clause[: match.start()], clause[match.end() :]
    if _FINDING.fullmatch(match[0]) and _is_none(rest, after=after):
        return True
    return bool(_DENIED.search(before)) and not _NOT_A_DENIAL.search(before) and not _NOT_YET.match(rest)


def _is_none(rest: str, *, after: str) -> bool:
    """Tell whether the rest of a clause, or the whole next clause, denies the finding."""
    goes_on = _FINDING_GOES_ON.match(rest)
    said = rest[goes_on.end() :] if goes_on else rest
    return bool(_NONE.match(said or after))
