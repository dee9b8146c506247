"""Reading sentences against the rules."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from crm.content.claims.patterns import Match, Pattern, find
from crm.content.claims.rulebook import LANGUAGES, Book, Guard, Rule, Severity, rulebook
from crm.content.claims.sentences import BREAK, Sentence, fold, sentences
from crm.content.claims.units import Unit


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to change.

    `start` and `end` are offsets in the checked text, so `text[start:end]` are the `words`; both 0 and no words when something
    is missing. `where` says which text that is: body, subject, preheader, why, or `block:<name>`.
    """

    id: str
    rule: str
    severity: Severity
    sentence: str
    words: str
    start: int
    end: int
    why: str
    suggestion: str
    where: str = "body"
    probability: float = 1.0  # as the reader sees it; a rule is sure
    nearest: tuple[str, ...] = ()  # labeled sentences that the reader found most alike
    unit: Unit | None = None  # what the reader judged
    of_sentence: bool = False  # about one sentence, not about a whole text or what it lacks

    @property
    def blocks(self) -> bool:
        """Whether content with this finding may not go out."""
        return self.severity in (Severity.BLOCK, Severity.REQUIRE)

    @property
    def asks(self) -> bool:
        """Whether a reviewer must answer before content with this finding may go out."""
        return self.severity is Severity.ASK


LONGEST_SUBJECT = 78


def check(text: str, *, language: str, where: str = "body") -> list[Finding]:
    """Return what the sentence rules find in a text, in reading order.

    `where` is `body` or `subject` (also for preheaders and sender names). Raises ValueError for an unknown language or place.
    """
    if language not in LANGUAGES:
        raise ValueError(
            f"no rules for the language {language!r}; there are rules for {', '.join(LANGUAGES)}"
        )
    if where not in ("body", "subject"):
        raise ValueError(f"where must be body or subject, not {where!r}")
    return list(_checked(text, language, where))


@lru_cache(maxsize=128)  # shared blocks are read again with every email that uses them
def _checked(text: str, language: str, where: str) -> tuple[Finding, ...]:
    book = rulebook(language)
    read = sentences(text)
    followers: Sequence[Sentence | None] = [*read, None][1:]
    findings = [
        finding
        for sentence, follower in zip(read, followers, strict=True)
        for finding in _Reader(book, sentence, follower, where).findings(text)
    ]
    if where == "subject":
        findings.extend(_envelope(book, text))
    return tuple(sorted(findings, key=lambda finding: (finding.start, finding.id)))


def finding(
    rule: Rule, *, text: str = "", start: int = 0, end: int = 0, why: str = "", where: str = "body"
) -> Finding:
    """Return a finding of a rule about a whole text rather than a sentence; `why` adds to the rule's own reason."""
    return Finding(
        id=rule.id,
        rule=rule.title,
        severity=rule.severity,
        sentence=text,
        words=text[start:end],
        start=start,
        end=end,
        why=" ".join(filter(None, (why, f"{rule.why} ({rule.source})"))),
        suggestion=rule.suggestion,
        where=where,
    )


def _envelope(book: Book, text: str) -> Iterable[Finding]:
    if len(text) > LONGEST_SUBJECT:
        yield finding(book.rule("envelope-length"), text=text, start=LONGEST_SUBJECT, end=len(text))
    broken = re.search(r"[\r\n\x0b\x0c\x85\u2028\u2029]", text)
    if broken:
        yield finding(book.rule("envelope-break"), text=text, start=broken.start(), end=broken.end())


class _Reader:
    """One sentence in front of one rulebook; looks words and guards up once."""

    def __init__(self, book: Book, sentence: Sentence, follower: Sentence | None, where: str) -> None:
        self.book, self.sentence, self.follower, self.where = book, sentence, follower, where
        self.tables = book.vocabulary.look_up(sentence)
        self._guarded: dict[str, list[Match]] = {}
        self._excepted: dict[str, list[Match]] = {}
        self._breaks: list[int] | None = None

    def findings(self, text: str) -> Iterable[Finding]:
        """Yield at most one finding per rule: the first place that nothing excuses."""
        matched: dict[int, list[Match]] = {}
        for table in self.tables:
            for number, pattern in self.book.by_table.get(table, ()):
                matched.setdefault(number, []).extend(find(pattern, self.sentence, self.tables))
        for number, pattern in self.book.denied if self._denied() else ():
            matched.setdefault(number, []).extend(find(pattern, self.sentence, self.tables))
        for number, matches in sorted(matched.items()):
            rule = self.book.rules[number]
            if rule.where not in ("any", self.where):
                continue
            for match in sorted(matches, key=lambda match: (match.start, -match.end)):
                if not self._excused(rule, match):
                    yield self._finding(text, rule, match)
                    break

    def _finding(self, text: str, rule: Rule, match: Match) -> Finding:
        start, end = self.sentence.starts[match.start], self.sentence.ends[match.end - 1]
        return Finding(
            id=rule.id,
            rule=rule.title,
            severity=rule.severity,
            sentence=self.sentence.text,
            words=text[start:end],
            start=start,
            end=end,
            why=f"{rule.why} ({rule.source})",
            suggestion=rule.suggestion,
            of_sentence=True,
        )

    def _excused(self, rule: Rule, match: Match) -> bool:
        if rule.id not in self._excepted:
            self._excepted[rule.id] = self._all(rule.exceptions)
        if any(_overlap(match, other) for other in self._excepted[rule.id]):
            return True
        if rule.unless and match.said and self._asked_by_a_reader() and not self._denies(rule, match):
            return True
        return any(
            self._asked_openly() if name == "question" else self._guards(self.book.guards[name], match)
            for name in rule.unless
        )

    def _all(self, patterns: Iterable[Pattern]) -> list[Match]:
        return [match for pattern in patterns for match in find(pattern, self.sentence, self.tables)]

    def _guards(self, guard: Guard, match: Match) -> bool:
        if guard.name not in self._guarded:
            false_friends = self._all(guard.not_these)
            self._guarded[guard.name] = [
                found
                for found in self._all(guard.patterns)
                if not any(_overlap(found, other) for other in false_friends)
            ]
        found = self._guarded[guard.name]
        if not guard.window:
            return bool(found)
        return any(self._reaches(other, match, guard.window) for other in found)

    def _reaches(self, guard: Match, match: Match, window: int) -> bool:
        """Whether words before the match, or between its words, speak about it: near enough, and nothing parts them.

        Words that the match itself names do not count: "no side effects" is not excused by its own "no".
        """
        if guard.start >= match.start:
            own = any(start < guard.end and guard.start < end for start, end in match.said)
            return guard.end <= match.end and not own
        near = guard.end <= match.start <= guard.end + window
        return near and not any(guard.end <= at < match.start for at in self._break_places())

    def _break_places(self) -> list[int]:
        if self._breaks is None:
            marks = [at for at, word in enumerate(self.sentence.words) if word == BREAK]
            self._breaks = marks + [match.start for match in self._all(self.book.breaks)]
        return self._breaks

    def _asked_openly(self) -> bool:
        """Whether the sentence asks without promising: "Is it safe?", not "Ready to live without pain?" or "Is it safe? Yes!"."""
        words = self.sentence.words
        if not self.sentence.asks or not words or words[0] not in self.book.askers:
            return False
        answer = self.follower.words[:1] if self.follower else ()
        return not answer or answer[0] not in self.book.affirmations

    def _denied(self) -> bool:
        """Whether it is a question that the next sentence answers with a bare no."""
        answer = self.follower.words if self.follower else ()
        return (
            self.sentence.asks
            and bool(answer)
            and answer[0] in self.book.denials
            and answer[1:2] != ("more",)
        )

    def _denies(self, rule: Rule, match: Match) -> bool:
        """Whether that no is itself the claim: "Is it addictive? No." """
        return self._denied() and match in self._all(rule.denied)

    def _asked_by_a_reader(self) -> bool:
        """Whether it asks yes or no as a reader would ask, "Will it cure me?", or the next words say no."""
        words = self.sentence.words
        if not self.sentence.asks or not words or words[0] not in self.book.yes_or_no:
            return False
        if self.follower and self.follower.words and self.follower.words[0] in self.book.affirmations:
            return False
        return self._denied() or any(word in self.book.readers for word in words)


def _overlap(one: Match, other: Match) -> bool:
    return one.start < other.end and other.start < one.end


def folded(text: str) -> str:
    """Return the text as rules see it: lower case, no accents, plain signs."""
    return fold(text)[0]
