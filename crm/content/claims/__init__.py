"""The claims check: what an email says that a regulator, a careful doctor or a lock screen should never see.

`check` reads the sentences of a text, `check_content` a whole email or page, `check_text` plain text that may become one. The
rules are data (`templates/content/claims.yaml`); nothing here touches a database, a network or the environment.
"""

from crm.content.claims.document import check_content, check_text
from crm.content.claims.engine import Finding, check
from crm.content.claims.rulebook import LANGUAGES, BadRules, Severity, rulebook

__all__ = ["LANGUAGES", "BadRules", "Finding", "Severity", "check", "check_content", "check_text", "rulebook"]
