"""Identity mask: templates show who a person is only to roles whose work needs it (`see_identity`).

It stands where templates read values, so that no page can forget it. Services read the real values.
"""

from typing import Any

from flask import g, has_request_context, request
from flask.templating import Environment
from flask_babel import gettext
from flask_security import current_user

from crm.contacts.models import Contact
from crm.desk.record_access import service as record_access
from crm.leads.models import Task
from crm.staff import access

NAMES = frozenset({"name", "first_name", "last_name", "preferred_name", "called"})
REACHES = frozenset({"email", "phone", "birth_date", "guardian", "chart_number"})


class MaskingEnvironment(Environment):
    """A template environment that hides the identity of people from readers who may not see it."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Contact) and attribute in NAMES | REACHES and hides(obj):
            return gettext("Person %(n)s", n=obj.id) if attribute in NAMES else None
        if isinstance(obj, Task) and attribute == "title" and obj.kind == "other" and _is_nameless():
            return gettext("Task")  # staff typed its title, which may name the person
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Contact):
            return self.getattr(obj, argument)
        return super().getitem(obj, argument)


def hides(person: Contact) -> bool:
    """Tell whether the reader of this page may not see who a person is."""
    if not _is_nameless():
        return False
    known: dict[int, bool] = g.setdefault("identity_mask_people", {})
    if person.id not in known:
        known[person.id] = not record_access.is_open(user_id=current_user.id, contact_id=person.id)
    return known[person.id]


def _is_nameless() -> bool:
    if not has_request_context() or not request.path.startswith("/console"):
        return False
    if "identity_mask" not in g:
        roles = (role.name for role in current_user.roles) if current_user.is_authenticated else ()
        g.identity_mask = not access.has_permission(roles, "see_identity")
    return bool(g.identity_mask)
