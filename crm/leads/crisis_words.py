"""Crisis words: text that speaks of dying or of harming oneself, in English and Spanish. Pure.

The patterns are broad on purpose: a staff member reads each match, and a false alert costs a minute. They do not match
everyday phrases about pain ("the pain is killing me", "I hurt myself lifting a box") or a clinician's negative finding
("denies suicidal ideation"), because staff soon ignore alerts that are mostly false.
"""

import re

from crm.core.text import clean, fold

_SELF = r"(?:my ?self|him ?self|her ?self|them ?sel(?:f|ves)|our ?selves)"
_OWN = r"(?:my|his|her|their)"
_PILLS = r"(?:pills?|tablets?|meds|medications?|medicines?|pain ?killers?|oxy\w*|opioids?|sleeping pills?)"
_ANYMORE = r"(?:any ?more|any longer)"

# One phrase a line, as `fold` leaves text: lower case, no accents, no apostrophes.
_PHRASES = (
    # English: wish to die
    r"suicid\w*", r"unaliv\w+", r"(?:active|passive|endorses|positive) si",
    r"(?:want|wants|wanted|wanting|wish|wishes|hope|hoping|ready|prefer|plan|planning|trying|tried|going) to (?:just )?die",
    r"wanna (?:just )?die", r"(?:id|would|i d) rather (?:be dead|die|not be alive)", r"rather be dead",
    r"wish (?:i|he|she) (?:was|were|wasnt|werent|had) (?:dead|gone|alive|here any ?more|never (?:been )?born|not alive)",
    r"better off (?:dead|without me)", r"better (?:off )?if i (?:was|were) (?:dead|gone|not here)", r"better without me",
    r"(?:kill|kills|killing|killed) " + _SELF + r"(?! (?:working|at work|at the gym|trying|to (?:get|make|keep|do|pay)))",
    r"(?:end|ending|ended|ends) (?:" + _OWN + r" (?:own )?(?:life|lives)|it all|it tonight|it for good|everything for good)",
    r"(?:take|taking|took|takes) " + _OWN + r" own life", r"take my life",
    r"(?:thoughts?|thinking|thought|dream\w*|fantas\w*) (?:of|about) (?:death|dying|ending (?:it|things|my life)|not being here)",
    r"(?:dont|do not|didnt|no longer|not) (?:really )?(?:want|wanna|wish|care) (?:to )?(?:live|be alive|be here|exist|go on)(?! (?:with|near|in|at|for|until|past) )",
    r"dont (?:want to|wanna) (?:keep living|keep going|do life)",
    r"(?:not|never|dont|wont|didnt) (?:to )?(?:want to )?(?:ever )?wake up(?! (?:early|late|tired|stiff|sore|with|in|at|so|my|the|him|her|every|several|as) ?)",
    r"dont care (?:if|whether) i (?:live|die|wake)", r"would(?:nt| not) mind (?:dying|not waking|being dead)",
    r"death (?:would|will|is) (?:be )?(?:a relief|better|easier|the only)", r"tired of (?:living|life|being alive)",
    r"sick of (?:living|being alive)", r"done with (?:life|living)", r"(?:give|giving|given|gave) up on (?:life|living)",
    r"(?:no|any|without|a) (?:reason|point|purpose|will|desire) (?:to|in|for|of) (?:live|living|life|going on|go on|being alive|continuing|carry on|carrying on|wak\w+ up)",
    r"nothing (?:left )?to live for", r"life (?:is|isnt|is not|feels) (?:not )?worth (?:living|it)", r"not worth living",
    r"(?:cant|cannot|can not|couldnt) (?:go on|carry on)(?= *$| (?:like|living|any|this|another|with (?:this|my) (?:life|pain))\b)",
    r"(?:cant|cannot|can not) (?:take|do|live|stand) (?:it|this|life|like this) " + _ANYMORE,
    r"(?:everyone|everybody|they|family|world|kids|people) (?:would|will|d|is|are|ll) (?:all )?be better off",
    r"(?:nobody|no one) (?:would|will|d) (?:even )?(?:miss me|notice if i|care if i (?:died|was gone))",
    # English: methods
    r"(?:over ?dos\w+)", r"(?:took|take|taking|swallow\w*|ate|down(?:ed|ing)?) (?:too many|(?:all|every one of) (?:of )?(?:my|the|his|her)|a (?:whole |full )?(?:bottle|handful|box) of|the whole bottle of|\d\d+) (?:of )?(?:my |the )?" + _PILLS,
    r"whole bottle of " + _PILLS, r"(?:hang|hanging|shoot|shooting|drown|drowning|poison|strangle|suffocate|stab)(?:ed)? " + _SELF + r"(?! in (?:work|debt|the foot))",
    r"(?:jump|jumping|jumped) (?:off|from) (?:a|the|my) (?:\w+ )?(?:bridge|building|roof|balcony|cliff|overpass)",
    r"(?:jump|step|walk|run|throw\w*|drive) (?:\w+ ){0,2}(?:in front of|into|under) (?:a |the )?(?:train|traffic|truck|bus|oncoming)",
    r"gun (?:to|in) my (?:head|mouth)", r"bullet (?:in|through) my", r"blow my (?:brains?|head)", r"(?:slit|slash|cut)(?:ting)? my wrists?",
    r"(?:rope|noose) around my neck",
    # English: harm to oneself, with the intent said, because injuries by accident are a pain clinic's daily bread
    r"(?:want|wants|wanted|going|trying|tried|tempted|plan|planning|urges?|might|afraid i(?:ll| will| might| may)|think(?:ing)? (?:of|about)|thoughts? (?:of|about)|thought about|need) (?:to )?(?:hurt|harm|cut|injur|punish)(?:e|ing|ting)? " + _SELF,
    r"self ?(?:harm|injur|mutilat)\w*", r"(?:harm|harming) " + _SELF, r"cutting " + _SELF + r"(?! (?:off|some slack|while|shaving|cooking))",
    r"(?:hurt|cut)(?:ting|ing)? " + _SELF + r" (?:on purpose|again to feel|to (?:feel|cope))",
    r"(?:farewell|goodbye|good bye) (?:letter|note|forever)", r"(?:said|saying|say) (?:my )?(?:last|final) good ?byes?",
    # Spanish
    r"(?:me|se|te) (?:quiero|quisiera|quiere|queria|voy a|va a|pienso|intent\w+|trat\w+ de) (?:matar|morir|suicidar|quitar la vida|hacer dano|cortar las venas)(?! de (?:risa|pena|hambre|verguenza|la risa|sueno))",
    r"(?:quiero|quisiera|queria|quiere|voy a|pienso en|pense en|pensando en|ganas de|intente|trate de|deseo|preferiria) (?:matarme|matarse|morir|morirme|morirse|desaparecer|dejar de (?:vivir|existir)|no despertar\w*|estar muert[oa])(?! de (?:risa|pena|hambre|verguenza|la risa|sueno))",
    r"quitar(?:me|se)? (?:me )?la vida", r"(?:acabar|terminar|acabo|termino) con (?:mi vida|su vida|todo(?! el))",
    r"sin ganas de (?:vivir|seguir)", r"no tengo ganas de (?:vivir|seguir)", r"ya no tengo ganas de nada",
    r"no (?:quiero|deseo|quisiera) (?:ya )?(?:vivir|seguir viviendo|seguir (?:asi|con vida)|despertar\w*|existir|estar (?:viv[oa]|aqui))(?! (?:lejos|cerca|con|en|sin) )",
    r"ya no (?:aguanto|puedo|soporto) mas(?! (?:de|que) )", r"no puedo mas(?! (?:de|que) )", r"no vale la pena (?:vivir|seguir)",
    r"(?:la|mi) vida (?:ya )?no (?:vale|tiene sentido|me importa)", r"(?:no tengo|sin) (?:ninguna )?(?:razon|razones|motivos?) (?:para|de) (?:vivir|seguir)",
    r"mejor (?:estar |estaria |estoy )?muert[oa]", r"(?:estarian|estaran|estan|estaria) mejor sin mi", r"a nadie le importaria si (?:me )?muer\w+",
    r"hacer(?:me|se) dano(?! (?:al|en|jugando|trabajando|levantando))", r"(?<!miedo de )(?<!miedo a )(?<!sin )(?<!no )(?<!evitar )lastimarme(?! (?:al|en|la|el|de nuevo|otra vez|jugando|trabajando))",
    r"cortarme(?! (?:el|las? unas|la barba|la mano|el pelo))", r"cortar(?:me|se) las venas", r"autolesi\w+", r"sobredosis", r"me (?:corto|corte) a proposito",
    r"(?:tome|tomo|tomar|tomarme|trague|tragarme) (?:me )?(?:todas?|muchas|demasiadas|un (?:frasco|bote|punado)(?: entero| completo| lleno)?) (?:de )?(?:las |mis |de )?(?:pastillas|pildoras|medicinas|medicamentos)",
    r"un (?:frasco|bote) (?:entero|completo) de (?:pastillas|pildoras|medicinas)",
    r"(?:ahorcar|colgar|ahogar|disparar|envenenar)(?:me|se)(?! (?:el|la) )", r"pegar(?:me|se) un tiro", r"(?:tirar|aventar|lanzar|arrojar)(?:me|se) (?:de|desde|a|al|del) (?:un |una |el |la |las )?(?:puente|edificio|techo|azotea|balcon|tren|vias|trafico)",
    r"carta de despedida",
)  # fmt: skip
_CRISIS = re.compile(rf"\b(?:{'|'.join(_PHRASES)})\b")

# Said right before a phrase, these rule it out: "denies any suicidal ideation", "I do not want to die".
_DENIED = re.compile(
    r"\b(?:not|never|no|nor|denies|denied|denying|deny|without|negative for|isnt|wasnt|arent|aint|dont|didnt|havent|doesnt|free of|absence of|rules? out"
    r"|niega|niego|negando|nunca|jamas|sin|tampoco|ausencia de)"
    r"(?: (?:i|am|is|are|be|been|being|currently|actively|at all|feel|feeling|feels|any|have|has|had|having|ever|a|of|or|the|history|homicidal|acute|active|passive|current|thoughts?|ideation|plan|plans|intent|hx|risk|"
    r"really|actually|estoy|soy|tengo|tener|tiene|he|tenido|ideas?|ideacion|pensamientos?|historia|antecedentes|de|me|actual|activa|actualmente)){0,6} ?$"
)
_NOT_A_DENIAL = re.compile(
    r"\b(?:not|no|dont|sin) (?:just|only|merely|solo|solamente)\b|\b(?:never|nunca) more\b"
)
_CLAUSE = re.compile(r"[.!?;:\n]+|,|\b(?:but|pero|however|though|aunque|except|yet)\b", re.IGNORECASE)

# "Suicidal" as a topic, not as a state of the person who writes.
_TOPIC = re.compile(
    r"\bsuicide prevention\b|\bprevencion del suicidio\b|\bsuicide (?:squad|awareness|hotline number)\b"
)


def mentions_crisis(text: str | None) -> bool:
    """Tell whether a text, in English or Spanish, speaks of dying or of harming oneself."""
    if not text:
        return False
    return any(_clause_in_crisis(fold(clause)) for clause in _CLAUSE.split(clean(text)))


def _clause_in_crisis(clause: str) -> bool:
    return any(not _is_ruled_out(clause, match) for match in _CRISIS.finditer(_TOPIC.sub(" ", clause)))


def _is_ruled_out(clause: str, match: re.Match[str]) -> bool:
    before = clause[: match.start()]
    return bool(_DENIED.search(before)) and not _NOT_A_DENIAL.search(before)
