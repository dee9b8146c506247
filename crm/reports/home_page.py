"""The home page of each role: what needs the reader, four to six numbers that lead to their rows, and two charts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from flask import render_template, url_for
from flask_babel import LazyString, format_date, gettext, lazy_gettext
from flask_security import current_user

from crm.core import clock
from crm.desk import worklists
from crm.leads.rules import CONTACT_REQUEST, REFERRAL
from crm.messages.rules import BOUNCE_LIMIT
from crm.reports import queries, report_page, rules, texts
from crm.reports.queries import LeadFilter
from crm.reports.rules import Period
from crm.staff import alerts

ROLES = ("admin", "front_desk", "clinician", "marketer", "viewer")
"""Whose home a person with several roles sees: the first of these."""
ALERTS = 3

Tile = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What tiles and charts are made of, each read at most once for a page."""

    me: int

    @cached_property
    def lists(self) -> Mapping[str, str]:
        return worklists.list_counts(me=self.me)

    @cached_property
    def today(self) -> queries.Today:
        return queries.today_counts()

    @cached_property
    def answers(self) -> Sequence[queries.Answers]:
        return queries.answers(_leads(CONTACT_REQUEST, 7))

    @cached_property
    def emails(self) -> Mapping[str, int]:
        days = queries.emails_per_day(_last(30))
        return {name: sum(counts.values()) for name, counts in days.items()}

    @cached_property
    def consents(self) -> Mapping[str, int]:
        return {action: sum(days.values()) for action, days in queries.consents_per_day(_last(30)).items()}

    @cached_property
    def funnel(self) -> tuple[list[int], list[int]]:
        wanted = _leads(CONTACT_REQUEST, 90)
        before = LeadFilter(kind=wanted.kind, period=wanted.period.before())
        return queries.steps(wanted), queries.steps(before)


def _last(days: int) -> Period:
    today = clock.today()
    return Period(first=today - timedelta(days=days - 1), last=today)


def _leads(kind: str, days: int) -> LeadFilter:
    return LeadFilter(kind=kind, period=_last(days))


def _work(label: LazyString, name: str) -> Callable[[Facts], Tile]:
    """Return the tile of one work list."""

    def tile(facts: Facts) -> Tile:
        number = facts.lists[name]
        warns = name in ("overdue", "outcome") and number != "0"
        return {
            "label": label,
            "number": number,
            "href": url_for("console.work.index", list=name),
            "kind": "warning" if warns else None,
        }

    return tile


def _tasks(facts: Facts) -> Tile:
    return {
        "label": gettext("Your open tasks"),
        "number": facts.lists["tasks"],
        "href": url_for("console.tasks.index"),
    }


def _new_today(facts: Facts) -> Tile:
    return {
        "label": gettext("New leads today"),
        "number": facts.today.leads,
        "note": gettext("yesterday: %(n)s", n=facts.today.leads_yesterday),
        "href": url_for("console.leads.index"),
    }


def _visits(facts: Facts) -> Tile:
    return {
        "label": gettext("Consultations today"),
        "number": facts.today.visits,
        "note": gettext("in the next 7 days: %(n)s", n=facts.today.visits_week),
        "href": url_for("console.work.index", list="today"),
    }


def _answer(facts: Facts) -> Tile:
    found = facts.answers
    minutes = found[0].minutes if found else None
    return {
        "label": gettext("Time to first answer, 7 days"),
        "number": report_page.lasted(minutes),
        "note": gettext("median; missed: %(n)s", n=found[0].late if found else 0),
        "href": url_for("console.response.index", period=7),
    }


def _triage(facts: Facts) -> Tile:
    return {
        "label": gettext("Referrals to review"),
        "number": facts.today.triage,
        "href": url_for("console.triage.index"),
        "kind": "warning" if facts.today.triage else None,
    }


def _reviews(facts: Facts) -> Tile:
    return {
        "label": gettext("Emails in review"),
        "number": facts.today.reviews,
        "href": url_for("console.content.index", state="in_review"),
    }


def _sent(facts: Facts) -> Tile:
    return {
        "label": gettext("Emails sent, 30 days"),
        "number": facts.emails.get("sent", 0),
        "note": gettext("queued now: %(n)s", n=facts.today.queued),
        "href": url_for("console.email_report.index", period=30),
    }


def _opted_out(facts: Facts) -> Tile:
    share = rules.rate(facts.emails.get("opted_out", 0), facts.emails.get("delivered", 0))
    return {
        "label": gettext("Opted out, 30 days"),
        "number": facts.emails.get("opted_out", 0),
        "note": gettext("%(share)s%% of the emails delivered", share=round(100 * share, 1)),
        "href": url_for("console.consent_report.index", period=30),
    }


def _bounces(facts: Facts) -> Tile:
    share = rules.rate(facts.emails.get("bounced", 0), facts.emails.get("sent", 0))
    return {
        "label": gettext("Bounces, 30 days"),
        "number": f"{round(100 * share, 1)}%",
        "note": gettext("limit %(limit)s%%", limit=round(100 * BOUNCE_LIMIT)),
        "kind": "danger" if share >= BOUNCE_LIMIT else None,
        "href": url_for("console.email_report.index", period=30),
    }


def _confirmed(facts: Facts) -> Tile:
    share = rules.share(facts.consents.get("confirmed"), facts.consents.get("asked"))
    return {
        "label": gettext("Confirmed their opt-in, 30 days"),
        "number": "–" if share is None else f"{share}%",
        "note": gettext("asked: %(n)s", n=facts.consents.get("asked", 0)),
        "href": url_for("console.consent_report.index", period=30),
    }


def _step(label: LazyString, step: int) -> Callable[[Facts], Tile]:
    """Return the tile of one step of the last 90 days."""

    def tile(facts: Facts) -> Tile:
        now, then = facts.funnel
        return {
            "label": label,
            "number": now[step],
            "note": gettext("90 days before: %(n)s", n=then[step]),
            "href": url_for("console.reports.people", step=step or None),
        }

    return tile


_CALLS, _OVERDUE, _OUTCOME = (
    _work(lazy_gettext("Call now"), "call_now"),
    _work(lazy_gettext("Overdue"), "overdue"),
    _work(lazy_gettext("Outcome missing"), "outcome"),
)
_CAME, _PATIENTS = (
    _step(lazy_gettext("Contact requests, 90 days"), 0),
    _step(lazy_gettext("Became patients, 90 days"), 5),
)
TILES: Mapping[str, Sequence[Callable[[Facts], Tile]]] = {
    "admin": (_CAME, _PATIENTS, _OVERDUE, _answer, _visits, _bounces),
    "front_desk": (_CALLS, _OVERDUE, _new_today, _visits, _tasks, _answer),
    "clinician": (_triage, _visits, _OUTCOME, _reviews, _tasks),
    "marketer": (_new_today, _sent, _confirmed, _opted_out, _bounces, _reviews),
    "viewer": (_CAME, _PATIENTS, _answer, _confirmed, _bounces),
}
CHARTS: Mapping[str, Sequence[str]] = {
    "admin": ("funnel", "leads"),
    "front_desk": ("leads", "answer"),
    "clinician": ("referrals", "leads"),
    "marketer": ("leads", "consent"),
    "viewer": ("funnel", "leads"),
}


def show() -> str:
    """Return the home page of the signed-in person's role."""
    names = {role.name for role in current_user.roles}
    role = next((one for one in ROLES if one in names), "viewer")
    facts = Facts(current_user.id)
    return render_template(
        "console/reports/home.html",
        greeting=_greeting(),
        day=format_date(clock.today(), "EEEE, MMMM d"),
        tiles_shown=[tile(facts) for tile in TILES[role]],
        charts={name: _CHART[name](facts) for name in CHARTS[role]},
        needs=alerts.groups()[:ALERTS],
        first_steps=_first_steps() if role in ("admin", "marketer") else [],
    )


def _greeting() -> str:
    hour = clock.now().astimezone(report_page.reader_zone()).hour
    name = current_user.name
    if hour < 12:
        return str(gettext("Good morning, %(name)s", name=name))
    if hour < 18:
        return str(gettext("Good afternoon, %(name)s", name=name))
    return str(gettext("Good evening, %(name)s", name=name))


def _leads_chart(_facts: Facts) -> dict[str, Any]:
    wanted = _leads(CONTACT_REQUEST, 90)
    buckets, before = rules.buckets(wanted.period), rules.buckets(wanted.period.before())
    counts = queries.arrivals(Period(first=before[0].first, last=wanted.period.last))
    now, then = queries.summed(counts, buckets), queries.summed(counts, before)
    labels = report_page.bucket_labels(buckets)
    return {
        "points": [{"label": label, "value": now[at], "before": then[at]} for at, label in enumerate(labels)],
        "says": gettext("%(now)s in 90 days; %(then)s in the 90 days before.", now=sum(now), then=sum(then)),
    }


def _answer_chart(_facts: Facts) -> dict[str, Any]:
    wanted = _leads(CONTACT_REQUEST, 90)
    buckets = rules.buckets(wanted.period)
    medians = queries.touch_over_time(wanted, buckets)
    return {
        "points": [
            {"label": label, "value": None if minutes is None else round(minutes / 60, 1)}
            for label, minutes in zip(report_page.bucket_labels(buckets), medians, strict=True)
        ]
    }


def _funnel_chart(facts: Facts) -> dict[str, Any]:
    return {"steps": _steps(CONTACT_REQUEST, *facts.funnel)}


def _referral_chart(_facts: Facts) -> dict[str, Any]:
    wanted = _leads(REFERRAL, 90)
    before = LeadFilter(kind=REFERRAL, period=wanted.period.before())
    return {"steps": _steps(REFERRAL, queries.steps(wanted), queries.steps(before))}


def _steps(kind: str, now: Sequence[int], then: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "label": texts.STEPS[name],
            "value": now[at],
            "before": then[at],
            "rate": rules.share(now[at], now[at - 1]) if at else None,
            "href": url_for("console.reports.people", kind=kind, step=at or None),
        }
        for at, name in enumerate(rules.STEPS[kind])
    ]


def _consent_chart(_facts: Facts) -> dict[str, Any]:
    period = _last(90)
    buckets, days = rules.buckets(period), queries.consents_per_day(period)
    asked, confirmed = (queries.summed(days[action], buckets) for action in ("asked", "confirmed"))
    return {
        "columns": [
            {"label": label, "parts": [confirmed[at], asked[at] - confirmed[at]]}
            for at, label in enumerate(report_page.bucket_labels(buckets))
        ],
        "says": gettext("%(n)s of %(all)s people asked confirmed.", n=sum(confirmed), all=sum(asked)),
    }


_CHART: Mapping[str, Callable[[Facts], dict[str, Any]]] = {
    "leads": _leads_chart, "answer": _answer_chart, "funnel": _funnel_chart, "referrals": _referral_chart,
    "consent": _consent_chart,
}  # fmt: skip


def _first_steps() -> list[dict[str, Any]]:
    """Return the steps of the first week, each with whether it is done; none once all are."""
    done = queries.first_steps()
    steps = [
        ("staff", gettext("Invite the people who work here"), "console.staff.index"),
        ("content", gettext("Have the emails reviewed and approved"), "console.content.index"),
        ("sequence", gettext("Set a sequence live"), "console.sequences.index"),
        ("practice", gettext("Add a practice that refers"), "console.practices.index"),
        ("lead", gettext("Send yourself a contact request"), "public.contact"),
    ]
    if all(done[name] for name, _, _ in steps):
        return []
    return [
        {"label": label, "done": done[name], "href": "/contact" if to.startswith("public") else url_for(to)}
        for name, label, to in steps
    ]
