"""Words in a message that cannot wait for the work list. Pure: a text in, whether somebody must look at once."""

import re

from crm.contacts.rules import folded

# A wide net on purpose: a person looks at what it catches, and a needless look costs a minute.
_PHRASES = (
    r"suicid\w*", r"kill(ing)? my ?self", r"end(ing)? (my life|it all)", r"take my (own )?life", r"want(ed)? to die",
    r"wanna die", r"rather be dead", r"better off (dead|without me)", r"hurt(ing)? my ?self", r"harm(ing)? my ?self",
    r"self harm\w*", r"cut(ting)? my ?self", r"no reason to (live|go on)", r"dont want to (live|be alive|be here)",
    r"do not want to (live|be alive|be here)", r"don t want to (live|be alive|be here)", r"cant go on", r"can t go on",
    r"cannot go on", r"overdos\w*", r"took (too many|all my|all the) pills",
    r"suicida\w*", r"matarme", r"quitarme la vida", r"acabar con (mi vida|todo)", r"quiero morir(me)?", r"quisiera morir(me)?",
    r"no quiero (vivir|seguir viviendo|seguir asi)", r"hacerme dano", r"lastimarme", r"cortarme", r"sobredosis",
    r"mejor muert[oa]", r"no puedo mas", r"sin razon para vivir",
)  # fmt: skip
_CRISIS = re.compile(rf"\b({'|'.join(_PHRASES)})\b")


def in_crisis(text: str | None) -> bool:
    """Tell whether a message, in English or Spanish, speaks of dying or of harming oneself."""
    return bool(text and _CRISIS.search(folded(text)))
