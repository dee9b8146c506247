"""The shipped content: sequences (`sequence.yaml`), emails, pages and blocks, read from files and checked as a whole.

Touches no database.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crm.content.render.source import (
    COMMERCIAL,
    LANGUAGES,
    TRANSACTIONAL,
    ContentError,
    Source,
    parse,
    parse_block,
)

TEMPLATES = Path(__file__).parents[3] / "templates"
UNITS = ("minutes", "hours", "days", "weeks")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ENTRY = "consent_given"
EXITS = (
    "opted_out",
    "bounced",
    "complained",
    "appointment_booked",
    "staff_hold",
    "declined",
    "consent_expired",
)


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause before the next step."""

    amount: int
    unit: str


@dataclass(frozen=True, slots=True)
class Send:
    """A step that sends an email of the sequence, by its file's slug."""

    slug: str


@dataclass(frozen=True, slots=True)
class End:
    """The end of a way: a goal, an exit or an end, with the name that is recorded."""

    number: int
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A question about an answer that the person gave to an email, or to any; each way has steps of its own."""

    number: int
    answer: str
    email: str | None  # slug
    then: tuple["Step", ...]
    otherwise: tuple["Step", ...]  # YAML reads "yes" and "no" as true and false


Step = Wait | Send | Branch | End
ANSWERS = ("not_now", "guide")  # who asks for a call gets no more emails of the sequence
FIRST_NUMBER = 100  # of branches and ends; emails have their place, from 0


@dataclass(frozen=True, slots=True)
class Window:
    """When an email may leave, in the person's own time: `HH:MM` to `HH:MM` on these weekdays."""

    start: str
    end: str
    weekdays: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """A shipped sequence as its file declares it. `text` is the file."""

    text: str
    key: str
    title: str
    topic: str
    stream: str
    languages: tuple[str, ...]
    entry: str  # always ENTRY
    exit_on: tuple[
        str, ...
    ]  # of EXITS, for the reader: every sequence ends for all reasons, see `crm.reactions`
    window: Window
    steps: tuple[Step, ...]

    @property
    def slugs(self) -> tuple[str, ...]:
        """The emails, in order."""
        return tuple(step.slug for step in every_step(self.steps) if isinstance(step, Send))


def every_step(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Yield steps and those of the ways of branches, in order."""
    for step in steps:
        yield step
        if isinstance(step, Branch):
            yield from every_step(step.then)
            yield from every_step(step.otherwise)


@dataclass(frozen=True, slots=True)
class Library:
    """All shipped content. `emails` by (sequence, slug, language), `transactional` by (kind, language), `pages` by (name,
    language), `blocks` by language, then name."""

    sequences: Mapping[str, Sequence]
    emails: Mapping[tuple[str, str, str], Source]
    transactional: Mapping[tuple[str, str], Source]
    pages: Mapping[tuple[str, str], Source]
    blocks: Mapping[str, Mapping[str, str]]
    layout: str


def load_library(templates: Path = TEMPLATES) -> Library:
    """Read everything under `templates/content` and `templates/email`; raises ContentError whose field is the file."""
    content = templates / "content"
    sequences = {
        path.parent.name: _checked(path, lambda text, key=path.parent.name: parse_sequence(text, key=key))
        for path in sorted(content.glob("*/sequence.yaml"))
    }
    emails = {
        (key, slug, language): _email(content / key / f"{slug}.{language}.md", sequence, language)
        for key, sequence in sequences.items()
        for slug in sequence.slugs
        for language in sequence.languages
    }
    _no_strays(content, sequences, emails)
    return Library(
        sequences=sequences,
        emails=emails,
        transactional=_transactional(templates / "email"),
        pages={_name(path): _source(path) for path in sorted(content.glob("*.md"))},
        blocks={language: _blocks(content / "blocks", language) for language in LANGUAGES},
        layout=(templates / "email" / "layout.mjml").read_text("utf-8"),
    )


def parse_sequence(text: str, *, key: str) -> Sequence:
    """Read a sequence.yaml; raises ContentError naming the key that is wrong."""
    raw = yaml.load(text, Loader=yaml.CSafeLoader)
    wanted = set(Sequence.__slots__) - {"text"}
    if not isinstance(raw, dict) or set(raw) != wanted:
        raise ContentError("sequence.yaml", f"needs exactly these keys: {', '.join(sorted(wanted))}.")
    if raw["key"] != key:
        raise ContentError("key", f"must be the name of the folder, {key}.")
    if raw["stream"] not in COMMERCIAL:
        raise ContentError("stream", f"must be one of: {', '.join(sorted(COMMERCIAL))}.")
    steps = _steps(raw["steps"])
    _check_numbers(steps)
    return Sequence(
        text=text,
        key=key,
        title=str(raw["title"]),
        topic=str(raw["topic"]),
        stream=raw["stream"],
        languages=_subset(raw, "languages", LANGUAGES),
        entry=_entry(raw),
        exit_on=_subset(raw, "exit_on", EXITS),
        window=_window(raw["window"]),
        steps=steps,
    )


def _entry(raw: Mapping[str, Any]) -> str:
    if raw["entry"] != ENTRY:
        raise ContentError("entry", f"must be {ENTRY}: consent to the topic is the only way into a sequence.")
    return ENTRY


def _window(raw: Any) -> Window:
    if not isinstance(raw, dict) or set(raw) != set(Window.__slots__):
        raise ContentError("window", "needs start, end and weekdays.")
    return Window(start=str(raw["start"]), end=str(raw["end"]), weekdays=_subset(raw, "weekdays", WEEKDAYS))


def _subset(raw: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    values = raw[key]
    if not isinstance(values, list) or not values or any(value not in choices for value in values):
        raise ContentError(key, f"must be a list out of: {', '.join(choices)}.")
    return tuple(values)


def _steps(raw: Any) -> tuple[Step, ...]:
    if not isinstance(raw, list):
        raise ContentError("steps", "must be a list.")
    return tuple(_step(step) for step in raw)


def _check_numbers(steps: tuple[Step, ...]) -> None:
    numbers = [step.number for step in every_step(steps) if isinstance(step, Branch | End)]
    if len(numbers) != len(set(numbers)) or any(number < FIRST_NUMBER for number in numbers):
        raise ContentError(
            "steps", f"Each branch and end needs a number of its own, {FIRST_NUMBER} or above, for good."
        )


def _step(raw: Any) -> Step:
    kind = next(iter(raw)) if isinstance(raw, dict) and len(raw) == 1 else ""
    match kind:
        case "email":
            return Send(slug=str(raw["email"]))
        case "wait":
            return _wait(raw["wait"])
        case "branch":
            return _branch(raw["branch"])
        case "goal" | "exit" | "end":
            return _end(kind, raw[kind])
        case _:
            raise ContentError("steps", f"A step is an email, a wait, a branch or an end, not {raw!r}.")


def _end(kind: str, raw: Any) -> End:
    if not isinstance(raw, dict) or set(raw) != {"number", "name"} or not isinstance(raw["number"], int):
        raise ContentError("steps", f"{kind} needs a number and a name.")
    return End(number=raw["number"], kind=kind, name=str(raw["name"]))


def _branch(raw: Any) -> Branch:
    if not isinstance(raw, dict) or not {"number", "answer", "then"} <= set(raw) <= set(Branch.__slots__):
        raise ContentError(
            "steps", "A branch needs number, answer and then; it may have email and otherwise."
        )
    if raw["answer"] not in ANSWERS or not isinstance(raw["number"], int):
        raise ContentError("steps", f"The answer of a branch is one of: {', '.join(ANSWERS)}.")
    return Branch(
        number=raw["number"],
        answer=raw["answer"],
        email=raw.get("email"),
        then=_steps(raw["then"]),
        otherwise=_steps(raw.get("otherwise", [])),
    )


def _wait(wait: Any) -> Wait:
    if not isinstance(wait, dict) or set(wait) != {"amount", "unit"}:
        raise ContentError("steps", f"A wait is `{{amount, unit}}`, not {wait!r}.")
    if wait["unit"] not in UNITS or not isinstance(wait["amount"], int) or wait["amount"] < 1:
        raise ContentError("steps", f"A wait is a whole number of {', '.join(UNITS)}.")
    return Wait(amount=wait["amount"], unit=wait["unit"])


def _checked(path: Path, read: Any) -> Any:
    """Read a file, and name the file in whatever is wrong with it."""
    try:
        return read(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise ContentError(f"{path.parent.name}/{path.name}", "is missing.") from error
    except ContentError as error:
        raise ContentError(f"{path.parent.name}/{path.name}", error.message) from error


def _name(path: Path) -> tuple[str, str]:
    name, _, language = path.name.removesuffix(".md").rpartition(".")
    return name, language


def _source(path: Path) -> Source:
    source: Source = _checked(path, parse)
    if source.language != _name(path)[1] and source.language != path.stem:
        raise ContentError(f"{path.parent.name}/{path.name}", f"says it is in {source.language}.")
    return source


def _email(path: Path, sequence: Sequence, language: str) -> Source:
    source = _source(path)
    if source.stream != sequence.stream or source.language != language:
        raise ContentError(f"{path.parent.name}/{path.name}", f"must be {sequence.stream} in {language}.")
    return source


def _no_strays(
    content: Path, sequences: Mapping[str, Sequence], emails: Mapping[tuple[str, str, str], Source]
) -> None:
    for key in sequences:
        for path in (content / key).glob("*.md"):
            if (key, *_name(path)) not in emails:
                raise ContentError(f"{key}/{path.name}", "belongs to no step of the sequence.")


def _transactional(folder: Path) -> dict[tuple[str, str], Source]:
    kinds = sorted(path.name for path in folder.iterdir() if path.is_dir())
    found = {
        (kind, language): _source(folder / kind / f"{language}.md")
        for kind in kinds
        for language in LANGUAGES
    }
    for (kind, language), source in found.items():
        if source.stream not in TRANSACTIONAL:
            raise ContentError(f"{kind}/{language}.md", "must be in a transactional stream.")
    return found


def _blocks(folder: Path, language: str) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob(f"*.{language}.md")):
        block = _checked(path, parse_block)
        if (block.name, block.language) != _name(path):
            raise ContentError(f"blocks/{path.name}", f"says it is {block.name} in {block.language}.")
        found[block.name] = block.text
    return found
