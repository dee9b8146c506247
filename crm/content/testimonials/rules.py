"""Testimonials: what the law requires before an email may quote a patient. Pure.

An email becomes a testimonial by naming a written authorization in its front matter (`testimonial: T-7`). Then, and only
then, its block quote may hold a patient's words: exactly the authorized ones. All that the words say about the treatment is
checked like any other sentence, and the generally expected result has to stand in the same email.

Sources: 45 CFR 164.508(a)(3) and (c), authorization for marketing; 16 CFR 255.1 and 255.2, endorsements; 16 CFR 465.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from crm.content.render.source import Source

LONGEST = timedelta(days=5 * 365)

STATEMENTS: Mapping[str, str] = {
    "use": "It says which words are used, that this clinic uses them, who will read them, and that this is marketing.",
    "revoke": "It says that the person can revoke it in writing, and how.",
    "free": "It says that care and payment do not depend on signing.",
    "passed-on": "It says that those who read the words may pass them on.",
    "unpaid": "Nothing was given or promised for the words.",
    "honest": "The words are what this patient honestly thinks and lived through; nobody else wrote them.",
    "copy": "The person has a copy of what they signed.",
}
"""What staff confirm on the signed paper; all of it has to be there."""

QUOTED = re.compile(r"^[ ]{0,3}>[ ]?(.*)$", re.MULTILINE)
_MARKS = re.compile(r"[*_\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationTerms:
    """What of a written authorization decides about an email."""

    language: str
    words: str
    signed_on: date
    ends_on: date  # the last day it holds
    revoked: bool


def quoted(body: str) -> str:
    """Return the words of all block quotes of a text, on one line and without marks."""
    return plain("\n".join(QUOTED.findall(body)))


def plain(words: str) -> str:
    """Return words on one line, without Markdown's marks and the quotation marks around them."""
    return " ".join(_MARKS.sub("", words).split()).strip('“”"«» ')


def ends_at(paper: AuthorizationTerms) -> datetime:
    """Return the instant from which an authorization holds no more."""
    return datetime.combine(paper.ends_on + timedelta(days=1), time(), tzinfo=UTC)


def refusal(source: Source, paper: AuthorizationTerms | None, *, now: datetime) -> str | None:
    """Return why an email may not carry the words it quotes; None when it may."""
    if paper is None:
        return f"There is no written authorization {source.testimonial}."
    if paper.revoked:
        return f"The person revoked the authorization {source.testimonial}."
    if ends_at(paper) <= now:
        return f"The written authorization {source.testimonial} has ended."
    if paper.language != source.language:
        return f"The authorization {source.testimonial} is for words in another language."
    if quoted(source.body) != plain(paper.words):
        return f"The quoted words are not exactly those of the authorization {source.testimonial}."
    return None
