"""The page of one practice, and what every form on it needs."""

from typing import Any

from flask import Response, make_response, render_template, request, url_for

from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.core import clock
from crm.core.flashes import flash_with_undo
from crm.core.us_states import STATES
from crm.desk.lead_page import has_permission
from crm.desk.practices import practice_numbers
from crm.leads import rules
from crm.referrers import accounts, practice_form, practices
from crm.referrers.models import Practice
from crm.staff import service as staff

LANGUAGES = (("en", "English"), ("es", "Spanish"))


def render_practice(practice: Practice, status: int = 200, **more: Any) -> Response:
    """Render the page of one practice and record that it was viewed."""
    audit.record("practice.view", object_type="practice", object_id=practice.id)
    manages = has_permission("manage_referrers")
    referrals = practice_numbers.referrals_of(practice.id, cursor=request.args.get("cursor"))
    notes = practices.notes_of(practice.id)
    older = url_for("console.practices.show", practice_id=practice.id, cursor=referrals.next)
    page = render_template(
        "console/referrers/practice.html",
        practice=practice,
        numbers=practice_numbers.numbers_of(practice.id),
        counted=practice_numbers.COUNTED,
        messages=practice_numbers.messages_of(practice.id),
        referrals=referrals.rows,
        older=older + "#referrals" if referrals.next else None,
        clinicians=practice_numbers.clinicians_of(practice.id),
        people=accounts.people_of(practice.id),
        notes=notes,
        names=staff.names_of({note.actor for note in notes}),
        note_kinds=practices.NOTE_KINDS,
        tasks=practices.tasks_of(practice.id),
        owner_options=[(user.id, user.name) for user in staff.at_work()],
        same=practices.look_alikes(practice) if manages else [],
        named=has_permission("see_identity"),
        editing=manages and (request.args.get("edit") == "1" or "edit_errors" in more),
        fields=practice_form.PRACTICE,
        languages=LANGUAGES,
        states=list(STATES),
        code_label=rules.label,
        now=clock.now(),
        **{"errors": {}, "typed": {}, **more},
    )
    return make_response(page, status)


def flash_undo(text: str, *, practice_id: int, act: StaffAct) -> None:
    """Say what was done to a practice, with a button that undoes it."""
    undo = url_for("console.practices.undo", practice_id=practice_id, act_id=act.id)
    flash_with_undo(text, undo=undo)
