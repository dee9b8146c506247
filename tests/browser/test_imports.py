"""Import of contacts: check, fix bad rows, import, undo."""

import csv
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_pages import check
from tests.support.stack import Stack

pytestmark = [pytest.mark.xdist_group("browser-desk")]

HEAD = ["First name", "Last name", "Email", "Phone", "Message"]
GOOD = [[f"Ada{letter}", "Import", f"ada{letter}@import.example", "", "Hello"] for letter in "abcdefg"]
BAD = [
    ["Cora", "Import", "nowhere", "", "=cmd()"],
    ["Leo", "Import", "nowhere", "", ""],
    ["Mia", "Import", "", "+12", ""],
]
MENDED = {
    "Cora": {"Email": "cora@import.example"},
    "Leo": {"Email": "leo@import.example"},
    "Mia": {"Phone": "'+12135550199"},
}


def there(site: Stack) -> int:
    with site.sql() as database:
        found = database.execute("select count(*) from contact where last_name = 'Import'").fetchone()
    return int(found[0])


def take_in(page: Page, file: Path) -> str:
    page.set_input_files("input[type=file]", file)
    page.get_by_label("Leads: each row").check()
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("button", name="Check file").click()
    expect(page.get_by_role("button", name="Import now")).to_be_visible(timeout=15_000)
    return page.url


def imported(page: Page) -> None:
    page.get_by_role("button", name="Import now").click()
    expect(page.get_by_role("button", name="Undo import")).to_be_visible(timeout=15_000)


def test_three_bad_rows_are_fixed_and_the_import_is_undone(site: Stack, staff: Page, tmp_path: Path):
    page, file = staff, tmp_path / "march.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([HEAD, *GOOD, *BAD])
    check(page, f"{site.web_url}/console/import")
    first = take_in(page, file)
    assert there(site) == 0  # tried out, nothing written
    check(page, first)
    expect(page.get_by_text("Email: Enter an email address")).to_have_count(2)
    imported(page)
    assert there(site) == len(GOOD)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download all these rows").click()
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as left_out:
        rows = list(csv.DictReader(left_out))
    assert [row["Line"] for row in rows] == ["9", "10", "11"]
    assert rows[0]["Message"] == "'=cmd()"  # no spreadsheet runs it
    mended = tmp_path / "mended.csv"
    with mended.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | MENDED[row["First name"]] for row in rows)
    page.goto(f"{site.web_url}/console/import")
    second = take_in(page, mended)
    imported(page)
    assert there(site) == len(GOOD) + len(BAD)

    for address in (second, first):
        page.goto(address)
        page.get_by_role("button", name="Undo import").click()
        expect(page.locator("#run p").first).to_contain_text("Undone", timeout=15_000)
    assert there(site) == 0
    page.set_viewport_size({"width": 390, "height": 844})
    for address in (first, f"{site.web_url}/console/import", f"{site.web_url}/console/export"):
        check(page, address)
