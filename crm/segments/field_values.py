"""The values that a condition of a segment can choose from, by field, with what people read."""

from collections.abc import Mapping

from flask_babel import gettext
from sqlalchemy import select, text

from crm.consent.texts import TOPICS
from crm.content.models import ContentItem
from crm.core.db import db
from crm.core.us_states import STATES
from crm.desk.list_filters import SOURCES
from crm.leads.rules import STAGES, label
from crm.messages import queries as messages

Choices = Mapping[str, Mapping[str, str]]

MOST_PRACTICES = 500
_TAGS = text("select distinct tag from contact_tag where tag <> 'staff-alerts' order by tag limit 500")
_SEQUENCES = text("select key, title from sequence order by title")
_PRACTICES = text("""
    select id, name from practice where merged_into_id is null order by lower(name), id limit :limit
""")


def all_choices(language: str) -> Choices:
    """Return field -> value -> name."""
    sequences = {row.key: row.title for row in db.session.execute(_SEQUENCES)}
    practices = db.session.execute(_PRACTICES, {"limit": MOST_PRACTICES})
    emails = db.session.scalars(select(ContentItem.key).where(ContentItem.kind == "email")).all()
    return {
        "tag": {tag: tag for tag in db.session.scalars(_TAGS)},
        "language": {"en": gettext("English"), "es": gettext("Spanish")},
        "us_state": dict(STATES),
        "consent": dict(TOPICS.get(language, TOPICS["en"])),
        "stage": {stage: label(stage) for stages in STAGES.values() for stage in stages},
        "source": {source: gettext(name) for source, name in SOURCES.items()},
        "practice": {str(row.id): row.name for row in practices},
        "sequence": sequences,
        "sequence_completed": sequences,
        "sequence_exited": sequences,
        "email_sent": dict(sorted(messages.subjects(emails).items(), key=lambda one: one[1].casefold())),
    }
