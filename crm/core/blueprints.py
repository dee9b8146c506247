"""Blueprints that declare their audience: console pages with navigation entries, portal pages, public pages.

Each view module of a feature makes one. `crm.web` finds and registers them, so a new page edits no central list.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flask import Blueprint


@dataclass(frozen=True, kw_only=True)
class ConsoleEntry:
    """A link of the console's navigation to one view of its Blueprint.

    `permission`: the roles that see it. `order`: entries are shown from the smallest number to the largest.
    `section`: entries of one section share one link and show each other as tabs; by default the entry is alone.
    `count`: a number to show beside the link; `counted`: what it counts, for people who hear the page.
    """

    label: str
    permission: str
    order: int
    view: str = "index"
    section: str = ""
    count: Callable[[], int] | None = None
    counted: str = "open tasks"


class ConsolePages(Blueprint):
    """Pages for staff. `part_of`: the name of the Blueprint whose navigation entry is current on these pages, too."""

    def __init__(
        self,
        name: str,
        import_name: str,
        *,
        entries: Iterable[ConsoleEntry] = (),
        part_of: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, import_name, **options)
        self.entries = tuple(entries)
        self.part_of = part_of


@dataclass(frozen=True, kw_only=True)
class PortalEntry:
    """A link of the portal's navigation to one view of its Blueprint. `label`: lazily translated."""

    label: Any
    view: str
    order: int


class PortalPages(Blueprint):
    """Pages for signed-in people of referring practices."""

    def __init__(
        self, name: str, import_name: str, *, entries: Iterable[PortalEntry] = (), **options: Any
    ) -> None:
        super().__init__(name, import_name, **options)
        self.entries = tuple(entries)


class CsrfCheck(Enum):
    """What shows that a form posted to a public page was not sent by another site (CSRF)."""

    APP = "the app checks the token of every form"
    FORM = "the form checks its own token, so that an expired page loses nothing that was typed"
    ADDRESS = "the address holds a secret; a mail program posts there without a cookie (RFC 8058)"
    SIGNATURE = "another system posts, and signs what it posts"


class PublicPages(Blueprint):
    """Pages and endpoints without sign-in."""

    def __init__(
        self, name: str, import_name: str, *, csrf: CsrfCheck = CsrfCheck.APP, **options: Any
    ) -> None:
        super().__init__(name, import_name, **options)
        self.csrf = csrf
