"""Which language a sentence is in, by the small words that every sentence has."""

import re

from crm.content.claims.sentences import fold

_LISTED = {
    "en": (
        "the of and to is are was were be been you your we our it its this that these those with for from have has had not "
        "will would can may what when who how why there their they but or if as an at by do does did than then so about after "
        "before more most some no yes all any every please here"
    ),
    "es": (
        "el la los las un una unos unas de del y que es son fue ser usted su sus nosotros nuestro nuestra lo le les se con "
        "para por desde tiene tienen no sera puede pueden cuando quien como porque hay ellos pero o si al mas muy sin sobre "
        "despues antes todo toda todos esta este esto esa ese eso ya nos favor aqui"
    ),
}
_SMALL = {language: frozenset(words.split()) for language, words in _LISTED.items()}
_WORD = re.compile(r"[a-z]+")
FEWEST = 3  # small words, and none or nearly none of the other language


def language_of(text: str) -> str:
    """Return `en` or `es`, or nothing for a sentence too short or too mixed to tell."""
    words = _WORD.findall(fold(text)[0])
    english, spanish = (sum(word in _SMALL[name] for word in words) for name in ("en", "es"))
    if english >= FEWEST and english >= 4 * spanish:
        return "en"
    return "es" if spanish >= FEWEST and spanish >= 4 * english else ""
