"""What the claims check says about a quoted patient: the authorization and the expected result beside it.

Sources: 16 CFR 255.1 and 255.2, endorsements.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from crm.content.claims.engine import Finding, finding
from crm.content.claims.rulebook import Severity, rulebook
from crm.content.render.source import COMMERCIAL, BlockRef, Source
from crm.content.testimonials.rules import QUOTED

RULE = "testimonial"
EXPECTED_RESULT = "evidence"  # the block that says what people may generally expect


def with_testimonial_findings(findings: Iterable[Finding], *, source: Source) -> list[Finding]:
    """Return the check's findings on a source; for a testimonial, its quoted story is for a person to look at again."""
    if not source.testimonial:
        known = list(findings)
        return known if any(one.id == RULE for one in known) else [*known, *_whose(source)]
    done = [_looked_at(one, source) for one in findings]
    named = {part.name for part in source.parts if isinstance(part, BlockRef)}
    if EXPECTED_RESULT not in named:
        rule = rulebook(source.language).rule("evidence-missing")
        why = "A patient's words need the result that is generally expected beside them (16 CFR 255.2)."
        done.append(finding(rule, why=why))
    return done


def _whose(source: Source) -> Iterator[Finding]:
    """Warn about a block quote: it reads as a person's own words, so the author has to say whose they are."""
    said = QUOTED.search(source.body)
    if said is not None and source.stream in COMMERCIAL:
        rule = replace(rulebook(source.language).rule(RULE), severity=Severity.WARN)
        why = "This reads as a person's own words. If a patient said them, choose the written authorization."
        yield finding(rule, text=source.body, start=said.start(1), end=said.end(1), why=why)


def _looked_at(one: Finding, source: Source) -> Finding:
    if one.id != RULE or one.where != "body" or not _in_quote(source.body, one):
        return one
    why = f"Printed with the written authorization {source.testimonial}; it is looked up again before every sending."
    return replace(one, severity=Severity.WARN, why=f"{why} {one.why}", suggestion="")


def _in_quote(body: str, one: Finding) -> bool:
    first = body.rfind("\n", 0, one.start) + 1
    lines = body[first : max(one.end, one.start + 1)].splitlines()
    return bool(lines) and all(QUOTED.match(line) for line in lines)
