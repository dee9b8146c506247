"""Edits of a rule by path, and the sentence that a rule reads as."""

import pytest

from crm.core.errors import Conflict
from crm.segments import rule_edits, texts
from crm.segments.rules import FIELDS, All, AnyOf, Condition, Not, Shape

A, B, C = (Condition("tag", (name,)) for name in "abc")
RULE = All((A, AnyOf((B,)), Not(AnyOf((C,)))))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (rule_edits.add(RULE, (), C), All((A, AnyOf((B,)), Not(AnyOf((C,))), C))),
        (rule_edits.add(RULE, (1,), A), All((A, AnyOf((B, A)), Not(AnyOf((C,)))))),
        (rule_edits.add(RULE, (2,), A), All((A, AnyOf((B,)), Not(AnyOf((C, A)))))),  # inside NOT
        (rule_edits.remove(RULE, (1, 0)), All((A, AnyOf(()), Not(AnyOf((C,)))))),
        (rule_edits.remove(RULE, (2,)), All((A, AnyOf((B,))))),
        (rule_edits.turn(RULE, ()), AnyOf((A, AnyOf((B,)), Not(AnyOf((C,)))))),
        (rule_edits.turn(RULE, (2,)), All((A, AnyOf((B,)), Not(All((C,)))))),
        (rule_edits.negate(RULE, (0,)), All((Not(A), AnyOf((B,)), Not(AnyOf((C,)))))),
        (rule_edits.negate(RULE, (2,)), All((A, AnyOf((B,)), AnyOf((C,))))),
    ],
)
def test_edits(found, expected):
    assert found == expected


@pytest.mark.parametrize(
    "edit",
    [
        lambda: rule_edits.remove(RULE, ()),
        lambda: rule_edits.remove(RULE, (9,)),
        lambda: rule_edits.add(RULE, (9,), A),
        lambda: rule_edits.add(RULE, (0,), A),  # no group
        lambda: rule_edits.path_from("0.x"),
        lambda: rule_edits.path_from("0.9999"),
    ],
)
def test_refusals(edit):
    with pytest.raises(Conflict):
        edit()


def say(message: str, **values: object) -> str:
    return message % values if values else message


def sentence(rule) -> str:
    return texts.sentence(rule, say=say, name_of=lambda _, value: value.upper())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (All((A, Not(B))), "People who have the tag A and do not have the tag B."),
        (
            All((AnyOf((A, B)), Condition("booked", days=30))),
            "People who (have the tag A or have the tag B) and booked a consultation in the last 30 days.",
        ),
        (Not(Condition("booked")), "People who did not book a consultation."),
        (Not(Condition("booked", times=2)), "People who booked a consultation fewer than 2 times."),
        (Condition("email_sent", ("x",), times=3), "People who were sent X at least 3 times."),
        (Not(All((A, B))), "People who do not match: (have the tag A and have the tag B)."),
        (Condition("share", ("Autumn",), 10), "People who are in the random 10 % called “Autumn”."),
    ],
)
def test_sentences(rule, expected):
    assert sentence(rule) == expected


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_name_and_both_sentences(name):
    condition = Condition(name, ("x",) if FIELDS[name] is not Shape.EVENT else ())
    assert texts.FIELD_LABELS[name]
    assert sentence(condition) != sentence(Not(condition))
