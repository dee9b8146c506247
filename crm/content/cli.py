"""Commands for email content: check files, load the shipped ones, export, import. `check` and `corpus` need no database."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click
import orjson
from flask.cli import with_appcontext

from crm.content import files, seed
from crm.content.claims import Finding, Severity, check, check_content, check_text
from crm.content.claims.corpus import BadLine, Score, measure, read_lines
from crm.content.questions import service as questions
from crm.content.render.source import LANGUAGES, Block, ContentError, parse, parse_block
from crm.content.testimonials.findings import with_testimonial_findings
from crm.core.db import transaction
from crm.core.errors import Invalid, Refusal

TEMPLATES = Path(__file__).parents[2] / "templates"
UNREADABLE = 2
DEMO_REVIEWERS = ("Demo clinician", "Demo compliance officer")


@click.group("content")
def content() -> None:
    """Email content: check what it says."""


@content.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--language", type=click.Choice(LANGUAGES), default="en", help="Of plain text; other files say it."
)
@click.option("--host", "hosts", multiple=True, help="A host that links may lead to beside link fields.")
def check_command(files: tuple[Path, ...], language: str, hosts: tuple[str, ...]) -> None:
    """Print what is wrong with FILES as JSON lines; exit 1 when anything may not go out, 2 when a file cannot be read.

    Each line has id, rule, severity, words, why, suggestion, sentence, where, start and end. `rule` is the id of the rule. For
    .jsonl (one {"id", "lang", "where", "text"} a line; sentence rules only) `id` is the line's own; for other files it is
    the file's name and the position of the finding, e.g. "04-research.en.md:3".
    """
    blocked = unreadable = False
    for path in files:
        try:
            for row_id, one in _read(path, language=language, hosts=hosts):
                click.echo(_row(row_id, one))
                blocked = blocked or one.blocks
        except BadLine as error:  # says itself which file and line
            click.echo(str(error), err=True)
            unreadable = True
        except (ContentError, OSError, UnicodeDecodeError) as error:
            click.echo(f"{path}: {_reason(error)}", err=True)
            unreadable = True
    raise SystemExit(UNREADABLE if unreadable else int(blocked))


@content.command("corpus")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def corpus_command(files: tuple[Path, ...]) -> None:
    """Print precision and recall of the rules over .jsonl FILES whose lines say what they `expect`; exit 1 below 0.95."""
    try:
        scores = measure([line for path in files for line in read_lines(path)])
    except (BadLine, OSError, UnicodeDecodeError) as error:
        click.echo(_reason(error), err=True)
        raise SystemExit(UNREADABLE) from error
    for name, score in sorted(scores.items()):
        click.echo(_score(name, score))
    overall = scores.get("all", Score())
    raise SystemExit(int(min(overall.precision, overall.recall) < 0.95))


def _read(path: Path, *, language: str, hosts: Iterable[str]) -> Iterator[tuple[str | int, Finding]]:
    if path.suffix == ".jsonl":
        for line in read_lines(path):
            for one in check(line.text, language=line.language, where=line.where):
                yield line.id, one
        return
    text = path.read_bytes().decode("utf-8-sig")
    if not text.strip():
        raise BadLine(f"{path}: the file is empty.")
    for number, one in enumerate(_findings(text, language=language, hosts=hosts), start=1):
        yield f"{path.name}:{number}", one


def _findings(text: str, *, language: str, hosts: Iterable[str]) -> list[Finding]:
    if not text.startswith("---"):
        return check_text(text, language=language)
    if "\nblock:" in text.partition("\n---")[0]:
        block = parse_block(text)
        return check(block.body, language=block.language)
    source = parse(text)
    return with_testimonial_findings(
        check_content(source, blocks=_blocks(source.language), hosts=hosts), source=source
    )


def _blocks(language: str) -> dict[str, Block]:
    files = sorted((TEMPLATES / "content" / "blocks").glob(f"*.{language}.md"))
    return {block.name: block for block in (parse_block(path.read_text("utf-8")) for path in files)}


def _row(row_id: str | int, one: Finding) -> str:
    return orjson.dumps(
        {
            "id": row_id,
            "rule": one.id,
            "severity": Severity(one.severity).value,
            "words": one.words,
            "why": one.why,
            "suggestion": one.suggestion,
            "sentence": one.sentence if one.words else "",
            "where": one.where,
            "start": one.start,
            "end": one.end,
        }
    ).decode()


def _score(name: str, score: Score) -> str:
    wrong = [f"false alarm: {', '.join(score.false_alarms)}"] if score.false_alarms else []
    wrong += [f"missed: {', '.join(score.missed)}"] if score.missed else []
    counted = score.caught + score.passed + len(score.false_alarms) + len(score.missed)
    return (
        f"{name:32} {counted:4} lines  precision {score.precision:.3f}  recall {score.recall:.3f}  {'; '.join(wrong)}"
    ).rstrip()


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"not UTF-8 text (line {line}, byte {error.start})."
    if isinstance(error, OSError):
        return f"{error.strerror or error}."
    return str(error)


@content.command("answers")
@click.argument("file", type=click.File("wb"))
@with_appcontext
def answers_command(file: BinaryIO) -> None:
    """Write the reviewers' answers to the claims check into FILE as lines of the corpus ("-" is standard output)."""
    count = 0
    for line in questions.corpus_lines():
        file.write(orjson.dumps(line) + b"\n")
        count += 1
    click.echo(f"Content: {count} answers written.", err=True)


@content.command("load")
@click.option(
    "--approved-by", multiple=True, metavar="NAME", help="Twice: the clinical, then the compliance reviewer."
)
@click.option("--approved-by-demo", is_flag=True, help="In the names of the demo clinic's two reviewers.")
@with_appcontext
def load(approved_by: tuple[str, ...], *, approved_by_demo: bool) -> None:
    """Bring the shipped emails and blocks into the database as new versions, where their text is new.

    Without reviewers' names they wait in review, and nothing is sent from them.
    """
    try:
        with transaction():
            done = seed.load_shipped(reviewers=DEMO_REVIEWERS if approved_by_demo else approved_by)
    except Refusal as error:
        raise click.ClickException(error.message) from error
    click.echo(f"Content: {done.added} new, {done.unchanged} unchanged.")


@content.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--drafts", is_flag=True, help="The newest texts whatever their state, not only approved ones.")
@with_appcontext
def export_command(folder: Path, *, drafts: bool) -> None:
    """Write every text into FOLDER, to the byte, in the folders that the shipped files have."""
    count = 0
    for path, data in files.export_texts(drafts=drafts):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        count += 1
    click.echo(f"Content: {count} files written.")


@content.command("import")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--author", default="import", help="Who wrote them, as the history names it.")
@with_appcontext
def import_command(paths: tuple[Path, ...], *, author: str) -> None:
    """Make each file the draft of its item, to the byte. Nothing is in use before it was reviewed."""
    for path in paths:
        try:
            with transaction():
                made = files.import_text(
                    files.decode_upload(path.read_bytes()),
                    key=files.key_of(str(path.resolve())),
                    actor=author,
                )
                said = f"{made.item.key} ({made.language}): version {made.number}, {made.state}"
        except Refusal as error:
            why = error.fields if isinstance(error, Invalid) else error.message
            raise click.ClickException(f"{path}: {why}") from error
        click.echo(said)
