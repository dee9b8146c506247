"""Every shipped file, in every language: whole, neutral outside, honest inside, and light."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from itertools import accumulate

import pytest

from crm.content.render.fields import ContentError
from crm.content.render.library import TEMPLATES, Send, Wait, load_library, parse_sequence
from crm.content.render.rendering import ClinicFacts, personalise, render, render_page
from crm.content.render.source import BlockRef, Claim, Prose, Source, parse, parse_block
from crm.leads import contact_attempts
from crm.leads import rules as leads_rules

LIBRARY = load_library()
CLINIC = ClinicFacts(
    name="Pacific Pain & Wellness Group",
    short_name="Pacific Wellness Group",
    phone="+1 555 010 0199",
    address="100 Example Street, Exampleton, CA 90000",
    public_url="https://clinic.example",
)
PERSON = {
    "first_name": "María José",
    "signup_date": "May 3, 2026",
    "reference": "R-1042",
    "appointment_time": "Tuesday 3 March, 9:00",
} | {
    f"{name}_url": f"https://clinic.example/{name[0]}/x1"
    for name in ("unsubscribe", "preferences", "confirm", "signin", "staff_signin", "data", "call", "not_now")
}
EMAILS = {"/".join(key): source for key, source in LIBRARY.emails.items()}
SERVICE = {"/".join(("email", *key)): source for key, source in LIBRARY.transactional.items()}
PAGES = {"/".join(key): source for key, source in LIBRARY.pages.items()}
MAILS = EMAILS | SERVICE
ALL = MAILS | PAGES
VOID = {"meta", "br", "hr", "img", "input", "link"}
HEALTH = re.compile(
    r"ketamin|esketamin|spravato|pain|dolor|crps|sdrc|fibromyalgia|fibromialgia|migra|neuropath|neuropát|infusion|infusión"
    r"|depress|depresi|therapy|terapia|treatment|tratamiento|diagnos|clinic|clínica|opioid|opioide|patient\b|paciente\b",
    re.IGNORECASE,
)
KETAMINE = re.compile(r"ketamin", re.IGNORECASE)
each = pytest.mark.parametrize


class Page(HTMLParser):
    """Checks that tags close in order, and collects what a reader sees and what a client would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.attrs: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attrs += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "title"):
            self.text += data


def made(source: Source):
    rendered = render(source, blocks=LIBRARY.blocks[source.language], layout=LIBRARY.layout, clinic=CLINIC)
    return personalise(rendered, PERSON)


def said(source: Source) -> str:
    """All a mail says in its own words and its blocks'."""
    blocks = LIBRARY.blocks[source.language]
    texts = [
        part.markdown if isinstance(part, Prose) else parse_block(blocks[part.name]).body
        for part in source.parts
        if isinstance(part, Prose | BlockRef)
    ]
    return "\n\n".join(texts)


def flat(text: str) -> str:
    return " ".join(re.sub(r"[*_]|^\s*>", "", text, flags=re.MULTILINE).split())


# what is there


def test_three_sequences_of_six_emails_in_two_languages() -> None:
    days = {
        "contact-request": [0, 2, 5, 9, 14, 21],
        "referred-patient": [0, 2, 5, 8, 12, 18],
        "referring-provider": [0, 7, 14, 28, 42, 60],
    }
    assert set(LIBRARY.sequences) == set(days)
    for key, sequence in LIBRARY.sequences.items():
        assert sequence.languages == ("en", "es")
        waits = accumulate(step.amount if isinstance(step, Wait) else 0 for step in sequence.steps)
        assert [
            day for day, step in zip(waits, sequence.steps, strict=True) if isinstance(step, Send)
        ] == days[key]
        assert {(slug, language) for at, slug, language in LIBRARY.emails if at == key} == {
            (slug, language) for slug in sequence.slugs for language in sequence.languages
        }
    assert len(EMAILS) == 3 * 6 * 2


def test_every_transactional_kind_is_there() -> None:
    kinds = [
        "confirmation",
        "invitation",
        "acknowledgement-patient",
        "acknowledgement-referrer",
        "answer-not-here",
        "answer-please-call",
        "answer-tried-to-reach",
        "appointment-booked",
        "appointment-changed",
        "appointment-reminder",
        "appointment-cancelled",
        "own-data",
        "portal-digest",
        "portal-message",
        "portal-signin",
        "audit-seal",
        "staff-alert",
        "staff-digest",
        "staff-notice",
        "staff-signin",
    ]
    assert set(LIBRARY.transactional) == {(kind, language) for kind in kinds for language in ("en", "es")}


def test_both_languages_have_the_same_blocks() -> None:
    assert set(LIBRARY.blocks["en"]) == set(LIBRARY.blocks["es"])


@each("name", [name for name in ALL if name.endswith("/en")])
def test_a_translation_has_the_same_shape(name: str) -> None:
    english, spanish = ALL[name], ALL[name[:-2] + "es"]
    assert (spanish.stream, spanish.cta, spanish.blocks) == (english.stream, english.cta, english.blocks)
    assert [(claim.id, claim.source) for claim in spanish.claims] == [
        (claim.id, claim.source) for claim in english.claims
    ]
    assert [type(part) for part in spanish.parts] == [type(part) for part in english.parts]
    for sign in ("\n## ", "\n- ", "\n1. ", "{{ "):
        assert spanish.body.count(sign) == english.body.count(sign), sign
    assert 0.8 < len(spanish.body) / len(english.body) < 1.4


# what each looks like


@each("name", MAILS)
def test_a_mail_renders_whole_and_light(name: str) -> None:
    source = MAILS[name]
    mail = made(source)
    page = Page(mail.html)
    assert (page.open, page.wrong) == ([], [])
    assert len(mail.html.encode()) < 60_000
    assert ("html", "lang", source.language) in page.attrs
    assert "@media (prefers-color-scheme: dark)" in mail.html
    for whole in (mail.html, mail.text, mail.subject, mail.preheader):
        assert not re.search(r"\[%|%\]|\{\{|\}\}[^}]*</|\ue000|\\u\{", whole)


@each("name", MAILS)
def test_nothing_is_fetched_and_every_link_leads_home(name: str) -> None:
    mail = made(MAILS[name])
    for tag, attribute, value in Page(mail.html).attrs:
        assert attribute not in ("src", "background", "srcset", "poster", "data", "action"), (tag, attribute)
        if attribute == "href":
            assert value.startswith("https://clinic.example/")
            assert not HEALTH.search(value.removeprefix("https://clinic.example"))
    assert not re.search(r"url\(|@import|@font-face", mail.html)
    assert set(re.findall(r"https?://[^/\s)]+", mail.text)) <= {"https://clinic.example"}


@each("name", MAILS)
def test_the_text_part_says_what_the_page_says(name: str) -> None:
    mail = made(MAILS[name])
    shown = flat(Page(mail.html).text)
    assert max(len(line) for line in mail.text.splitlines() if "://" not in line) <= 76
    for sentence in re.findall(r"[^\n]{20,}", re.sub(r"(?<=\S)\n(?=[^\s\d-])", " ", mail.text)):
        words = [
            word
            for word in flat(re.sub(r"\(?https://\S+", "", sentence)).split()
            if len(word) > 3 and word.islower()
        ]
        missing = [word for word in words if word.strip(".,:;?()“”·") not in shown]
        assert not missing, sentence


@each("name", MAILS)
def test_the_envelope_is_neutral(name: str) -> None:
    source = MAILS[name]
    mail = made(source)
    assert 5 <= len(mail.subject) <= 78
    assert 8 <= len(mail.preheader) <= 90
    for line in (source.subject, source.preheader):
        allowed = re.sub("any clinic|cualquier clínica|Patient selection|Selección de pacientes", "", line)
        assert not HEALTH.search(allowed if source.stream == "provider_nurture" else line)
        assert "!" not in line


@each("name", EMAILS)
def test_a_person_can_always_stop_and_knows_who_writes(name: str) -> None:
    source = EMAILS[name]
    mail = made(source)
    links = [value for _, attribute, value in Page(mail.html).attrs if attribute == "href"]
    for part in (mail.text, " ".join(links)):
        assert PERSON["unsubscribe_url"] in part
        assert PERSON["preferences_url"] in part
    for part in (mail.text.replace("\n", " "), Page(mail.html).text.replace("\n", " ")):
        assert CLINIC.address in part
        assert PERSON["signup_date"] in part
        assert ("Advertisement" if source.language == "en" else "Anuncio") in part


@each("name", SERVICE)
def test_transactional_email_names_sender_and_reason(name: str) -> None:
    mail = made(SERVICE[name])
    text = mail.text.replace("\n", " ")
    assert CLINIC.address in text
    assert SERVICE[name].why.split(".")[0] in text
    assert PERSON["unsubscribe_url"] not in mail.html
    assert "Advertisement" not in text
    assert "Anuncio" not in text
    own = text.replace(CLINIC.name, "")
    assert not re.search(
        r"ketamin|\bpain\b|\bdolor\b|therapy|terapia|treatment|tratamiento", own, re.IGNORECASE
    )


@each(
    "kind",
    ["confirmation", "invitation", "acknowledgement-patient", "acknowledgement-referrer", "staff-alert"],
)
@each("language", ["en", "es"])
def test_mail_that_a_stranger_may_get_repeats_nothing_anyone_typed(kind: str, language: str) -> None:
    source = LIBRARY.transactional[kind, language]
    assert "first_name" not in source.text
    assert "signup_date" not in source.text


# what each says


@each("name", [name for name, source in ALL.items() if KETAMINE.search(source.body)])
def test_a_text_that_names_ketamine_says_off_label_and_the_risks(name: str) -> None:
    named = {part.name for part in ALL[name].parts if isinstance(part, BlockRef)}
    assert "off-label" in ALL[name].blocks
    assert "off-label" in named
    assert named & {"risk-short", "risk-full"}


@each("name", EMAILS)
def test_an_email_for_patients_is_not_advice_and_tells_where_help_is(name: str) -> None:
    named = {part.name for part in EMAILS[name].parts if isinstance(part, BlockRef)}
    assert "emergency" in named
    assert "not-advice" in named or EMAILS[name].stream == "provider_nurture"
    assert "911" in made(EMAILS[name]).text
    assert "988" in made(EMAILS[name]).text


def _claims() -> list[tuple[str, str, Claim]]:
    rows = [(name, said(source), claim) for name, source in ALL.items() for claim in source.claims]
    for language, blocks in LIBRARY.blocks.items():
        for name, text in blocks.items():
            block = parse_block(text)
            rows += [(f"block/{name}/{language}", block.body, claim) for claim in block.claims]
    return rows


def test_every_claim_stands_in_the_text_with_a_full_source() -> None:
    for name, body, claim in _claims():
        assert flat(claim.claim) in flat(body), (name, claim.id)
        assert re.search(
            r"doi:|PubMed \d+|hdl:|PMC\d+|prescribing information|Food and Drug|U\.S\.C\.|CFR \d",
            claim.source,
        ), claim


@each("name", [name for name, source in ALL.items() if source.claims])
def test_the_sources_are_listed_under_the_text(name: str) -> None:
    source = ALL[name]
    if name in PAGES:
        shown = render_page(source, blocks=LIBRARY.blocks[source.language], clinic=CLINIC).html
    else:
        shown = made(source).text
    for claim in source.claims:
        assert flat(claim.source) in flat(shown)


@each(
    "name",
    [name for name, source in ALL.items() if re.search(r"\d+ ?%|\d+ (?:in|de cada) \d+", said(source))],
)
def test_a_text_with_a_share_in_it_has_sources(name: str) -> None:
    assert ALL[name].claims


def _syllables(word: str, language: str) -> int:
    groups = len(re.findall(r"[aeiouyáéíóúü]+", word.lower()))
    silent = language == "en" and re.search(r"[^aeiouyl]e$|[^aeioutd]ed$", word.lower()) and groups > 1
    return max(1, groups - bool(silent))


def _sentences(source: Source) -> list[list[str]]:
    plain = re.sub(r"\{\{.*?\}\}", "Ana", re.sub(r"[*\\#]", "", said(source)))
    pieces = re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.)\s)|(?<=[.?!:])\s", plain)
    return [words for piece in pieces if (words := re.findall(r"[^\W\d_][\w'’-]*", piece))]


@each("name", ALL)
def test_it_is_easy_to_read(name: str) -> None:
    """English: Flesch-Kincaid grade 8 at most. Spanish: Fernández-Huerta 70 at least, called fairly easy."""
    source = ALL[name]
    sentences = _sentences(source)
    words = [word for sentence in sentences for word in sentence]
    length = len(words) / len(sentences)
    syllables = sum(_syllables(word, source.language) for word in words) / len(words)
    if source.language == "en":
        assert 0.39 * length + 11.8 * syllables - 15.59 <= 8
    else:
        assert 206.84 - 60 * syllables - 1.02 * length >= 70


# the files


def test_every_file_comes_out_as_it_went_in() -> None:
    files = [path for path in TEMPLATES.rglob("*.md") if path.parent.name != "blocks"]
    assert len(files) == len(ALL)
    for path in files:
        assert parse(path.read_bytes().decode()).text.encode() == path.read_bytes()


SEQUENCE = LIBRARY.sequences["contact-request"].text


@each(
    ("old", "new", "field"),
    [
        ("key: contact-request", "key: other", "key"),
        ("stream: prospect_edu", "stream: transactional", "stream"),
        ("languages: [en, es]", "languages: [en, fr]", "languages"),
        ("topic: prospect_edu\n", "", "sequence.yaml"),
        ("weekdays: [mon, tue, wed, thu, fri]", "weekdays: []", "weekdays"),
        ("entry: consent_given", "entry: tag_added", "entry"),
        ("exit_on: [opted_out,", "exit_on: [opened,", "exit_on"),
        ("unit: days", "unit: fortnights", "steps"),
        ("amount: 2", "amount: 0", "steps"),
        ("- email: 01-welcome", "- sms: hello", "steps"),
        ("number: 100", "number: 101", "steps"),  # two nodes of one number
        ("number: 100", "number: 3", "steps"),  # the number of an email
        ("answer: not_now", "answer: opened", "steps"),
        ("name: Not now", "title: Not now", "steps"),
        ("then: [", "yes: [", "steps"),
    ],
)
def test_a_wrong_sequence_is_refused_by_name(old: str, new: str, field: str) -> None:
    assert old in SEQUENCE
    with pytest.raises(ContentError) as refused:
        parse_sequence(SEQUENCE.replace(old, new), key="contact-request")
    assert refused.value.field == field


@each("broken", ["missing", "stray", "wrong language"])
def test_a_broken_library_names_the_file(broken: str, tmp_path) -> None:
    for path in TEMPLATES.glob("content/contact-request/*"):
        (tmp_path / "content/contact-request").mkdir(parents=True, exist_ok=True)
        (tmp_path / "content/contact-request" / path.name).write_bytes(path.read_bytes())
    folder = tmp_path / "content/contact-request"
    one = folder / "02-understanding.es.md"
    if broken == "missing":
        one.unlink()
    elif broken == "stray":
        one = one.rename(folder / "09-stray.es.md")
        (folder / "02-understanding.es.md").write_bytes(one.read_bytes())
    else:
        one.write_bytes((folder / "02-understanding.en.md").read_bytes())
    with pytest.raises(ContentError) as refused:
        load_library(tmp_path)
    assert refused.value.field == f"contact-request/{one.name}"


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[*_>\-\\]", " ", text).split())


@each("language", ["en", "es"])
def test_every_warning_has_its_source(language):
    """Fair balance: what is said about risks is as well sourced as anything else."""
    block = parse_block(LIBRARY.blocks[language]["risk-full"])
    sentences = [
        one for line in block.body.splitlines() if line.startswith("- ") for one in [line[2:].strip()]
    ]
    assert len(sentences) == 6
    assert {_plain(one) for one in sentences} <= {_plain(one.claim) for one in block.claims}
    assert any("Schedule III" in one.claim or "Lista III" in one.claim for one in block.claims)


def test_what_clinicians_are_promised_is_what_staff_are_held_to():
    promised = EMAILS["referring-provider/05-closing-the-loop/en"].body
    assert "within one business day" in promised
    assert leads_rules.REFERRAL_STAGES["received"].within == timedelta(days=1)
    assert "at least three times, in at least two ways, over a week" in promised
    assert (contact_attempts.LEAST_ATTEMPTS, contact_attempts.LEAST_CHANNELS) == (3, 2)
    assert timedelta(days=7) == contact_attempts.LEAST_TIME
    assert "a report within seven days" in promised
    assert leads_rules.REFERRAL_STAGES["seen"].within == timedelta(days=5)  # of opening: a week


def test_the_review_is_cited_with_what_it_covers_and_found():
    for name, source in ALL.items():
        text = " ".join(claim.claim for claim in source.claims if "CD015373" in claim.source)
        if "67" in text:
            assert re.search(r"cancer|cáncer", text), name
    assert "protocol" not in " ".join(one.source for source in ALL.values() for one in source.claims)
