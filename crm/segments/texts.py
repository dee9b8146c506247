"""A segment's rule as a sentence, and the names of its fields. Messages are translated by the function that is passed."""

from collections.abc import Callable, Mapping

from crm.segments.rules import FIELDS, All, AnyOf, Condition, Node, Not, Shape

Say = Callable[..., str]  # gettext
NameOf = Callable[[str, str], str]  # (field, value) -> what people read

FIELD_LABELS: Mapping[str, str] = {
    "tag": "Tag",
    "language": "Language",
    "us_state": "US state",
    "consent": "Opted in to",
    "stage": "Stage of a lead",
    "source": "Source of a lead",
    "practice": "Referring practice",
    "sequence": "In a sequence now",
    "sequence_completed": "Finished a sequence",
    "sequence_exited": "Exited a sequence",
    "lead_opened": "Asked for care or was referred",
    "confirmed": "Confirmed by email",
    "booked": "Booked a consultation",
    "email_sent": "Was sent an educational email",
    "share": "A random share of people",
}
# field -> the phrase, and the phrase of the opposite
_CHOICES: Mapping[str, tuple[str, str]] = {
    "tag": ("have the tag %(values)s", "do not have the tag %(values)s"),
    "language": ("read %(values)s", "do not read %(values)s"),
    "us_state": ("live in %(values)s", "do not live in %(values)s"),
    "consent": ("opted in to %(values)s", "are not opted in to %(values)s"),
    "stage": ("have a lead in stage %(values)s", "have no lead in stage %(values)s"),
    "source": ("came by %(values)s", "did not come by %(values)s"),
    "practice": ("were referred by %(values)s", "were not referred by %(values)s"),
    "sequence": ("are in the sequence %(values)s", "are not in the sequence %(values)s"),
    "sequence_completed": ("finished the sequence %(values)s", "did not finish the sequence %(values)s"),
    "sequence_exited": ("exited the sequence %(values)s", "did not exit the sequence %(values)s"),
}
_EVENTS: Mapping[str, tuple[str, str]] = {
    "lead_opened": ("asked for care or were referred", "did not ask for care and were not referred"),
    "confirmed": ("confirmed by email", "did not confirm by email"),
    "booked": ("booked a consultation", "did not book a consultation"),
    "email_sent": ("were sent %(values)s", "were not sent %(values)s"),
}


def sentence(rule: Node, *, say: Say, name_of: NameOf) -> str:
    """Return a rule as one sentence: "People who have the tag VIP and did not book a consultation."."""
    return say("People who %(rule)s.", rule=_phrase(rule, say, name_of, outer=True))


def _phrase(node: Node, say: Say, name_of: NameOf, *, outer: bool = False) -> str:
    match node:
        case All(parts) | AnyOf(parts):
            word = say(" and ") if isinstance(node, All) else say(" or ")
            joined = word.join(_phrase(part, say, name_of) for part in parts) or say(
                "meet a condition not chosen yet"
            )
            return joined if outer or len(parts) == 1 else f"({joined})"
        case Not(Condition() as condition):
            return _condition(condition, say, name_of, negated=True)
        case Not(part):
            return say("do not match: %(rule)s", rule=_phrase(part, say, name_of))
        case Condition():
            return _condition(node, say, name_of, negated=False)


def _condition(condition: Condition, say: Say, name_of: NameOf, *, negated: bool) -> str:
    values = say(" or ").join(name_of(condition.field, value) for value in condition.values)
    match FIELDS[condition.field]:
        case Shape.CHOICE:
            return say(_CHOICES[condition.field][negated], values=values)
        case Shape.EVENT:
            return _event(condition, say, values or say("an educational email"), negated=negated)
        case Shape.SHARE:
            phrase = "are not in" if negated else "are in"
            share = say(
                "the random %(percent)s %% called “%(name)s”",
                percent=condition.times,
                name=condition.values[0],
            )
            return f"{say(phrase)} {share}"


def _event(condition: Condition, say: Say, values: str, *, negated: bool) -> str:
    several = condition.times > 1
    phrase = say(_EVENTS[condition.field][negated and not several], values=values)
    if several and negated:
        phrase += " " + say("fewer than %(n)s times", n=condition.times)
    elif several:
        phrase += " " + say("at least %(n)s times", n=condition.times)
    if condition.days is not None:
        phrase += " " + say("in the last %(n)s days", n=condition.days)
    return phrase
