"""Content as files: out and in again, by command and in the console, and not a byte is different."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from crm.content import approval, files, service
from crm.content.editor import form_codec
from crm.content.editor import service as editor
from crm.content.models import Autosave, ContentItem, ContentVersion
from crm.content.render.library import TEMPLATES
from crm.core.db import db, transaction
from crm.core.errors import Invalid
from tests.support import factories as support_factories
from tests.support.browser_client import BrowserClient, signed_in

WRITER = "staff:1"
KEY = "contact-request/02-understanding"
SHIPPED = sorted(path for path in TEMPLATES.rglob("*.md") if not path.name.startswith("education"))


@pytest.fixture
def loaded(edge, clock) -> None:
    support_factories.shipped()


def newest(key: str, language: str = "en") -> ContentVersion:
    db.session.expire_all()
    item = db.session.scalars(select(ContentItem).where(ContentItem.key == key)).one()
    found = editor.newest(item.id, language=language)
    assert found is not None
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_file_knows_its_item_and_its_place(path):
    relative = path.relative_to(TEMPLATES).as_posix()
    text = files.decode_upload(path.read_bytes())
    assert files.path_of(files.key_of(relative), form_codec.split_fields(text).language) == relative


@given(st.text(max_size=400))
def test_any_text_is_read_as_it_is_or_refused(text: str):
    data = text.encode("utf-8", "surrogatepass")
    try:
        assert files.decode_upload(data).encode() == data
    except Invalid:
        assert "\x00" in text or re.search("[\ud800-\udfff]", text)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a\x00b", b"x" * (files.LARGEST + 1)])
def test_what_is_no_text_is_refused(data):
    with pytest.raises(Invalid):
        files.decode_upload(data)


@pytest.mark.parametrize("path", ["note.md", "a/b.fr.md", "a/b.en.txt", "email/x/fr.md"])
def test_a_file_without_a_place_is_refused(path):
    with pytest.raises(Invalid):
        files.key_of(path)


def test_what_was_written_out_is_the_shipped_files(loaded):
    out = dict(files.export_texts())
    assert out == {path.relative_to(TEMPLATES).as_posix(): path.read_bytes() for path in SHIPPED}


def test_taking_in_what_is_there_makes_nothing(loaded):
    before = newest(KEY)
    assert files.import_text(before.source, key=KEY, actor=WRITER).id == before.id


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_a_file_becomes_the_draft_to_the_byte(loaded, ending):
    text = newest(KEY).source.replace("Hello", "Good day").replace("\n", ending) + ending * 2
    made = files.import_text(text, key=KEY, actor=WRITER)
    assert (made.state, made.author) == ("draft", WRITER)
    db.session.expire_all()
    assert made.source == text
    out = dict(files.export_texts(drafts=True))
    assert out["content/contact-request/02-understanding.en.md"] == text.encode()
    parts = form_codec.split_fields(made.source)
    assert editor.save(made.id, parts=parts, base=made.version, actor=WRITER).theirs is None
    assert made.source == text  # saved from the form without a change, too


def test_an_open_draft_keeps_what_it_said_in_its_history(loaded):
    first = files.import_text(newest(KEY).source + "\nOne.\n", key=KEY, actor=WRITER)
    second = files.import_text(newest(KEY).source + "\nTwo.\n", key=KEY, actor=WRITER)
    assert first.id == second.id
    said = db.session.scalars(select(Autosave.source).where(Autosave.version_id == first.id)).all()
    assert [("Two." in one) for one in said] == [False, True]


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (KEY, ("stream: prospect_edu", "stream: referred_edu")),
        ("block/off-label", ("", "")),
        ("email/new-kind", ("", "")),
        (KEY, ("language: en", "language: fr")),
    ],
)
def test_a_file_of_another_kind_is_refused(loaded, key, change):
    with pytest.raises(Invalid):
        files.import_text(newest(KEY).source.replace(*change), key=key, actor=WRITER)


def test_a_new_file_makes_an_item_of_its_own(loaded):
    made = files.import_text(newest(KEY).source, key="own/spring", actor=WRITER)
    assert (made.item.key, made.item.kind, made.state) == ("own/spring", "email", "draft")


def test_the_commands_go_round(database, clock, tmp_path):
    with transaction():
        support_factories.shipped()
    run = database.test_cli_runner().invoke
    assert f"{len(SHIPPED)} files" in run(args=["content", "export", str(tmp_path)]).output
    one = tmp_path / "content" / "contact-request" / "02-understanding.es.md"
    one.write_bytes(one.read_bytes() + b"\r\n Una cosa m\xc3\xa1s.\r\n")
    said = run(args=["content", "import", str(one)])
    assert said.output == f"{KEY} (es): version 2, draft\n"
    again = tmp_path / "again"
    run(args=["content", "export", "--drafts", str(again)])
    assert (again / one.relative_to(tmp_path)).read_bytes() == one.read_bytes()
    wrong = run(args=["content", "import", str(tmp_path / "content" / "blocks" / "footer.en.md")])
    assert "block/footer (en): version 1, approved" in wrong.output
    (tmp_path / "x.en.md").write_bytes(b"\xff")
    assert run(args=["content", "import", str(tmp_path / "x.en.md")]).exit_code == 1


def test_the_console_goes_round(client, database):
    with transaction():
        support_factories.shipped()
    marketer: BrowserClient = signed_in(database, "marketer")
    before = newest(KEY)
    answer = marketer.get(f"/console/content/versions/{before.id}/file")
    assert answer.data == before.source.encode()
    assert answer.headers["Content-Disposition"] == 'attachment; filename="02-understanding.en.md"'
    changed = answer.data + "\r\nOne more thing: señal.\r\n".encode()
    sent = {"item": before.item_id, "file": (io.BytesIO(changed), "x.md")}
    made = marketer.post("/console/content/upload", sent)
    assert made.location == f"/console/content/drafts/{newest(KEY).id}"
    assert marketer.get(f"/console/content/versions/{newest(KEY).id}/file").data == changed
    new = marketer.post("/console/content/upload", {"file": (io.BytesIO(changed), "x.md")})
    assert marketer.get(new.location).status_code == 200
    assert marketer.post("/console/content/upload", {"item": before.item_id}).status_code == 422


def test_own_block_is_created_translated_approved_inserted(client, database):
    with transaction():
        support_factories.shipped()
    marketer: BrowserClient = signed_in(database, "marketer")
    marketer.get("/console/content")
    made = marketer.post("/console/content/blocks", {"name": "Holiday hours"})
    block = newest("block/holiday-hours")
    assert made.location == f"/console/content/drafts/{block.id}"
    with transaction():
        files.import_text(
            block.source.replace("…", "We are closed on holidays."), key="block/holiday-hours", actor=WRITER
        )
        other = editor.translate(block.id, language="es", actor=WRITER)
        approval.submit(block.id, actor=WRITER)
        approval.approve(block.id, actor="staff:98", roles=["clinician"], kind="clinical")
        approval.approve(block.id, actor="staff:99", roles=["marketer"], kind="compliance")
    assert "language: es" in newest("block/holiday-hours", "es").source
    assert other.state == "draft"
    assert "holiday-hours" in service.current_blocks("en")
    assert "holiday-hours" not in service.current_blocks("es")
    for name in ("Holiday hours", "¿?", "../x"):
        before = db.session.scalar(select(func.count(ContentItem.id)))
        marketer.post("/console/content/blocks", {"name": name})
        assert db.session.scalar(select(func.count(ContentItem.id))) == before


def test_a_block_can_be_asked_for_from_now_on(client, database):
    with transaction():
        support_factories.shipped()
    marketer: BrowserClient = signed_in(database, "marketer")
    marketer.get("/console/content")
    marketer.post(f"/console/content/drafts/begin/{newest(KEY).item_id}", {"language": "en"})
    draft = newest(KEY)
    parts = form_codec.split_fields(draft.source)
    typed = {
        "base": draft.version,
        "body": parts.body,
        "claim_id": [one.id for one in parts.claims],
        "claim": [one.claim for one in parts.claims],
        "source": [one.source for one in parts.claims],
        "require_asked": "1",
    }
    answer = marketer.post(
        f"/console/content/drafts/{draft.id}",
        typed | {"require": ["emergency", "evidence", "not-advice"]},
        headers={"Accept": "application/json"},
    ).json
    assert form_codec.split_fields(newest(KEY).source).blocks == ("not-advice", "emergency", "evidence")
    assert answer["stops"]
    assert "add [[block: evidence]]" in answer["findings"]
    page = marketer.get(f"/console/content/drafts/{draft.id}").text
    assert 'value="evidence" checked' in page
    assert 'value="risk-full" checked' not in page
