"""`make screenshots`: the pages of a demo clinic as a desktop and a phone show them, light and dark.

python -m tests.screenshots [page ...] [--docs]     into .local/screenshots; --docs also renews the pictures in docs/images
"""

import argparse
import shutil
import sys
from collections.abc import Iterator

from playwright.sync_api import Browser, Page

from tests.support import chromium
from tests.support.stack import ROOT, Stack, stopped_stack

FOLDER = ROOT / ".local" / "screenshots"
HEIGHTS = {1280: 800, 390: 844}  # a desktop's window, a phone; by width
PAGES = {
    "home": "/console/",
    "work": "/console/leads/work",
    "leads": "/console/leads",
    "board": "/console/leads/board",
    "consultations": "/console/consultations",
    "consultations-day": "/console/consultations?view=day",
    "consultations-list": "/console/consultations/list",
    "consultations-setup": "/console/consultations/setup",
    "contacts": "/console/contacts",
    "person": "/console/contacts/{contact}",
    "new-lead": "/console/new",
    "new-referral": "/console/new?what=referral",
    "person-edit": "/console/contacts/{contact}?edit=1",
    "lead": "/console/leads/{lead}",
    "emergency": "/console/records/{lead}/emergency",
    "viewers": "/console/records/{lead}/viewers",
    "practices": "/console/referrers/",
    "sequences": "/console/sequences",
    "sequence": "/console/sequences/{sequence}",
    "content": "/console/content",
    "broadcasts": "/console/campaigns",
    "mail": "/console/mail",
    "funnel": "/console/reports",
    "cohorts": "/console/reports/cohorts",
    "response": "/console/reports/response",
    "email-results": "/console/reports/email",
    "consent": "/console/reports/consent",
    "staff": "/console/staff",
    "retention": "/console/retention",
    "setup": "/console/setup?check=1",
    "clinic": "/console/clinic",
    "api-keys": "/console/api-keys",
    "contact": "/contact",
    "own-data": "/your-data",
    "copy": "/console/copy/{lead}",
    "refer": "/refer/new",
}
RECORDS = {
    "contact": "select contact_id from lead where stage = 'consult_scheduled' order by id desc limit 1",
    "lead": "select reference from lead where stage = 'consult_scheduled' order by id desc limit 1",
    "sequence": "select id from sequence order by id limit 1",
}
DOCS = {"home-1280-light": "console.png", "lead-1280-light": "lead.png"}


def main(arguments: list[str]) -> int:
    """Take the pictures and print where they are."""
    parser = argparse.ArgumentParser(prog="make screenshots")
    parser.add_argument(
        "pages", nargs="*", metavar="page", help=f"of {', '.join(PAGES)}; all when none is named"
    )
    parser.add_argument("--docs", action="store_true", help="also renew the pictures in docs/images")
    options = parser.parse_args(arguments)
    if chromium.PATH is None:
        print("Chromium is missing: install it, or set CHROMIUM to its path.", file=sys.stderr)
        return 1
    if unknown := set(options.pages) - set(PAGES):
        parser.error(f"no page {', '.join(sorted(unknown))}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with stopped_stack(LOG_LEVEL="WARNING") as stack:
        print("Making a demo clinic; this takes about a minute.", flush=True)
        stack.flask("demo", "prepare", seconds=1_800)
        with stack.started(), chromium.launch() as browser:
            for name in _take(stack, browser, options.pages or list(PAGES)):
                print(FOLDER / f"{name}.png", flush=True)
    if options.docs:
        for name, copy in DOCS.items():
            shutil.copy(FOLDER / f"{name}.png", ROOT / "docs" / "images" / copy)
    return 0


def _take(stack: Stack, browser: Browser, pages: list[str]) -> Iterator[str]:
    """Open each page in each size and color scheme; yield the name of each picture."""
    records = _records(stack)
    for width, height in HEIGHTS.items():
        context = browser.new_context(
            viewport={"width": width, "height": height},
            timezone_id="America/Los_Angeles",
            reduced_motion="reduce",
        )
        page = context.new_page()
        _sign_in(stack, page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for name in pages:
                page.goto(stack.web_url + PAGES[name].format(**records), wait_until="networkidle")
                page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png")
                yield f"{name}-{width}-{scheme}"
        context.close()


def _records(stack: Stack) -> dict[str, str]:
    """Return which record stands for each kind."""
    with stack.sql() as database:
        found = {kind: database.execute(query).fetchone() for kind, query in RECORDS.items()}
    return {kind: str(row[0]) for kind, row in found.items() if row is not None}


def _sign_in(stack: Stack, page: Page) -> None:
    page.goto(stack.flask("staff", "sign-in-link", "admin@demo.example").split()[-1])
    page.get_by_role("button").first.click()
    page.wait_for_url("**/console**")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
