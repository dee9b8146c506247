"""What axe finds on a page: violations of WCAG 2.2 AA, and of what axe calls best practice."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],  # else it describes all that is well, for a quarter of its time
}


def violations(page: Page) -> list[str]:
    """Return one line for each violation: the rule, and the elements that break it."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [f"{one['id']}: {', '.join(str(node['target']) for node in one['nodes'])}" for one in found]
