"""Comparing two records of one person field by field, and taking chosen values over into the kept one."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from crm.contacts import edit_form, editing
from crm.contacts.models import Contact
from crm.contacts.rules import number_of
from crm.core.errors import Invalid

COMPARED = tuple(name for name in edit_form.LABELS if name != "more_phones")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One field of two records. `suggested`: the kept record has no value and the other one has."""

    name: str
    kept: Any
    gone: Any

    @property
    def differs(self) -> bool:
        return (self.kept or None) != (self.gone or None)

    @property
    def suggested(self) -> bool:
        return not self.kept and bool(self.gone)


def compare(kept: Contact, gone: Contact) -> list[Compared]:
    """Return the fields in which at least one of two records has a value."""
    mine, theirs = editing.values_of(kept), editing.values_of(gone)
    pairs = [Compared(name=name, kept=mine[name], gone=theirs[name]) for name in COMPARED]
    return [pair for pair in pairs if pair.kept or pair.gone]


def apply(kept: Contact, gone: Contact, taken: Collection[str]) -> None:
    """Set these fields of the kept record to the other one's values, as a part of their merge.

    No phone number is lost: those that are not the first one stay as further numbers. Consent is merged afterwards.
    """
    if unknown := set(taken) - set(COMPARED):
        raise Invalid({"taken": [f"{name} is no field of a person." for name in sorted(unknown)]})
    theirs = editing.values_of(gone)
    values = {name: theirs[name] for name in COMPARED if name in taken}
    editing.edit(
        contact_id=kept.id,
        version=kept.version,
        values=values,
        phones=_phones(kept, gone, first=values.get("phone", kept.phone)),
        source="merge",
        asks=False,
    )


def _phones(kept: Contact, gone: Contact, *, first: str | None) -> list[tuple[str, str]]:
    every = [
        *((one.kind, one.number) for one in editing.phones_of(kept.id)),
        *((one.phone_kind or "other", one.phone) for one in (kept, gone) if one.phone),
        *((one.kind, one.number) for one in editing.phones_of(gone.id)),
    ]
    known, found = {number_of(first or "")}, []
    for kind, number in every:
        if number_of(number) not in known:
            known.add(number_of(number))
            found.append((kind, number))
    return found[: edit_form.MOST_PHONES]
