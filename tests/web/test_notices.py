"""The notices every public page must lead to (RCW 19.373.020, 45 CFR 164.520, 45 CFR 92.10 and 92.11), in both languages."""

import re

import pytest

NOTICES = {
    "/health-data-privacy": (
        "Consumer health data privacy policy",
        "Política de privacidad de los datos de salud",
    ),
    "/privacy-practices": ("Notice of privacy practices", "Aviso de prácticas de privacidad"),
    "/nondiscrimination": ("Nondiscrimination notice", "Aviso de no discriminación"),
    "/language-help": ("Free language help", "Ayuda gratuita con el idioma"),
}


@pytest.mark.parametrize("language", ["en", "es"])
def test_form_links_to_every_notice(client, language):
    page = client.get(f"/contact?lang={language}").text
    foot = page.partition("<footer")[2]
    links = set(re.findall(r'href="(/[^"]+)"', foot))
    assert links == {f"{path}?lang={language}" for path in NOTICES}


@pytest.mark.parametrize(("language", "at"), [("en", 0), ("es", 1)])
@pytest.mark.parametrize("path", NOTICES)
def test_notice_language(client, path, language, at):
    answer = client.get(f"{path}?lang={language}")
    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    assert NOTICES[path][at] in re.search(r"<h1>(.*?)</h1>", answer.text).group(1)


def test_language_help_in_fifteen_languages(client, app):
    page = client.get("/language-help").text.partition("<ul")[2].partition("<footer")[0]
    offers = re.findall(r'<li lang="([a-z]+)" dir="(ltr|rtl)">(.*?)</li>', page, flags=re.DOTALL)
    assert len(offers) == 15
    assert all(app.settings.clinic.phone in offer for _, _, offer in offers)
    assert {code for code, direction, _ in offers if direction == "rtl"} == {"fa", "ar"}


def test_search_engines_read_public_pages(client):
    page = client.get("/robots.txt")
    assert page.mimetype == "text/plain"
    assert {"Allow: /contact$", "Allow: /education$", "Disallow: /"} <= set(page.text.splitlines())


def test_browsers_find_the_icon(client):
    assert "/icon.svg" in client.get("/favicon.ico").headers["Location"]
