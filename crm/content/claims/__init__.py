"""The claims check: what an email says that a regulator, a careful doctor or a lock screen should never see.

`check` reads the sentences of a text, `check_content` a whole email or page, `check_text` plain text that may become one. Rules
(`templates/content/claims.yaml`) decide what is plain; a reader that learned from labeled sentences judges the rest.
`check_rules` asks the rules alone. Nothing here touches a database, a network or the environment.
"""

from crm.content.claims.document import check_content, check_text
from crm.content.claims.engine import Finding
from crm.content.claims.engine import check as check_rules
from crm.content.claims.judge import check
from crm.content.claims.rulebook import LANGUAGES, BadRules, Severity, rulebook

__all__ = [
    "LANGUAGES",
    "BadRules",
    "Finding",
    "Severity",
    "check",
    "check_content",
    "check_rules",
    "check_text",
    "rulebook",
]
