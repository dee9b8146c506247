"""A believable demo clinic: clearly marked, removable by one command. Never in production.

The real services, planner and sender produce six months of data, with a simulated clock and a transport that keeps all
email in memory.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import orjson
from flask.cli import with_appcontext
from flask_migrate import upgrade
from sqlalchemy import select, text

from crm.audit.service import acting
from crm.consent import consent_texts
from crm.consent import service as consent
from crm.consultations import queries, rooms
from crm.consultations import service as consultations
from crm.consultations.models import Consultation
from crm.consultations.rules import ConsultationState
from crm.contacts.models import Contact
from crm.contacts.rules import Person
from crm.content.cli import load
from crm.core import clock, current, queue, tokens
from crm.core.config import DEFAULT_PORT
from crm.core.db import db, transaction
from crm.core.tokens import Purpose
from crm.intake import corrections
from crm.intake import service as intake
from crm.intake.corrections import SentForm
from crm.intake.service import ContactRequest, NewReferral
from crm.leads import rules as lead_rules
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.mailer.memory import MemoryMailer
from crm.messages import transports
from crm.messages.engine.deliver import deliver
from crm.messages.limits import copy_guard, switches
from crm.messages.models import Batch, Message
from crm.referrers import accounts
from crm.referrers.models import PortalPerson, Practice
from crm.referrers.service import Sender
from crm.reports import rollup
from crm.sequences import planner
from crm.sequences import service as sequences
from crm.staff import service as staff
from crm.staff.models import User
from crm.tracking import service as tracking

if TYPE_CHECKING:
    from faker import Faker

DAYS, LEADS, SEED = 180, 240, 20_26
LINK_LIFE = timedelta(days=1)  # longer than a real one: it is a demo on this machine
NURSE = "referrer@demo.example"
ROLES = {
    "admin": "Alex Admin",
    "marketer": "Mara Marketer",
    "front_desk": "Fran Frontdesk",
    "clinician": "Chris Clinician",
    "viewer": "Vic Viewer",
}
ZONES = ("America/Los_Angeles", "America/Los_Angeles", "America/Denver", "America/Chicago")
SENDERS = [
    Sender(
        clinician="Dr. Nora Demo-Field",
        npi="1234567893",
        practice="Demo Family Medicine",
        city="Exampleton",
        state="CA",
    ),
    Sender(
        clinician="Dr. Omar Demo-Reyes",
        npi="2000000002",
        practice="Demo Orthopedics",
        city="Sampleville",
        state="CA",
    ),
    Sender(
        clinician="Dr. Petra Demo-Lind",
        npi="1000000004",
        practice="Demo Neurology Partners",
        city="Testburg",
        state="OR",
    ),
    Sender(
        clinician="Dr. Quinn Demo-Asher",
        npi="1555000003",
        practice="Demo Pain Associates",
        city="Exampleton",
        state="CA",
    ),
    Sender(
        clinician="Dr. Rosa Demo-Villa",
        npi="1555000011",
        practice="Demo Spine Center",
        city="Sampleville",
        state="CA",
    ),
    Sender(
        clinician="Dr. Sam Demo-Oduya",
        npi="1555000029",
        practice="Demo Rheumatology",
        city="Exampleton",
        state="CA",
    ),
    Sender(
        clinician="Dr. Tara Demo-Singh",
        npi="1555000037",
        practice="Demo Internal Medicine",
        city="Mocktown",
        state="CA",
    ),
    Sender(
        clinician="Dr. Uma Demo-Holt",
        npi="1555000045",
        practice="Demo Women's Health",
        city="Testburg",
        state="OR",
    ),
]
MESSAGES = {
    "en": (
        "My back has hurt for years. Do you take new patients?",
        "I would like to know what a first visit costs and how long it takes.",
        "My neighbor came to you for CRPS. Can I come without a referral?",
        "Please call after 4 pm, I work until then.",
        "Do you work with Blue Shield? I have nerve pain since a surgery.",
        "My wife asks whether she can bring a friend to the visit.",
        "Is parking near your office? I use a walker.",
        "I have tried a lot already. I only want to talk to a doctor first.",
        "Migraines, 10 days a month. What do you offer?",
        "Could you send me information to read before I decide?",
    ),
    "es": (
        "Me duele la espalda desde hace años. ¿Aceptan pacientes nuevos?",
        "Quisiera saber cuánto cuesta la primera consulta.",
        "¿Hay alguien que hable español en la clínica?",
        "Llámenme por favor después de las 5.",
        "Mi mamá tiene dolor de nervios. ¿Puede venir sin referencia?",
        "¿Me pueden mandar información antes de decidir?",
    ),
}
WEIGHTS = (9, 6, 4, 3, 3, 2, 1, 1)  # of the senders: some practices refer often

ROOMS = ("Room 1", "Room 2")
VISIT_ENDS = {"attended": 80, "no_show": 11, "cancelled": 6, "": 3}  # the last one is still to be recorded

# What will happen, and when; an act may return what it sets off later.
Agenda = list[tuple[datetime, Callable[[], "Agenda | None"]]]

group = click.Group("demo", help="The demo clinic on this machine.")


@group.command()
@with_appcontext
def fill() -> None:
    """Make the demo clinic, unless there are people in the database already."""
    _refuse_production()
    if db.session.scalar(select(Contact.id).limit(1)) is not None:
        db.session.rollback()
        return
    click.echo("Making a demo clinic: six months, 240 leads. This takes one to two minutes, once.")
    with acting("system"), transaction():
        for role, name in ROLES.items():
            staff.create(email=_address(role), name=name, roles=[role], demo=True)
        sequences.load_shipped(live=True)
        switches.attest_phi(
            transport="sendgrid",
            wording="demo clinic: no real patients, mail stays here",
            by="demo",
            demo=True,
        )
    try:
        _live_through()
        _let_a_referrer_in()
        _count_reports()
    except BaseException:
        db.session.rollback()
        _empty()  # half a demo would look like a whole one to the next start
        raise
    queue.redis().flushdb()  # jobs that were queued for simulated times


@group.command()
@click.pass_context
@with_appcontext
def prepare(context: click.Context) -> None:
    """Everything before the first start of the day: migrate, load the shipped content, make the demo clinic."""
    _refuse_production()
    upgrade()
    context.invoke(load, approved_by=(), approved_by_demo=True)
    context.invoke(fill)


@group.command(name="sign-ins")
@with_appcontext
def show_sign_ins() -> None:
    """Print the addresses, and a fresh one-time sign-in for each role of the demo clinic."""
    _refuse_production()
    settings = current.settings()
    click.echo(
        f"\n  Console        {settings.public_url}/console\n  Contact form   {settings.public_url}/contact"
    )
    click.echo(
        f"  Referrers      {settings.public_url}/refer\n  Mail sandbox   http://127.0.0.1:{settings.sandbox_port}\n"
    )
    port = "" if settings.port == DEFAULT_PORT else f"PORT={settings.port} "
    click.echo(
        f"  One-time sign-ins of the demo clinic (make new ones: {port}.venv/bin/flask --app wsgi demo sign-ins)"
    )
    with acting("system"), transaction():
        for user in db.session.scalars(
            select(User).where(User.demo, User.practice_id.is_(None)).order_by(User.id)
        ):
            role = user.roles[0].name
            token = staff.sign_in_link(user=user, life=LINK_LIFE, by_owner=True)
            click.echo(f"    {role:11} {settings.public_url}/sign-in/{token}")
        nurse = db.session.scalar(select(PortalPerson).where(PortalPerson.email == NURSE))
        if nurse is not None:
            token = tokens.sign(Purpose.PORTAL_SIGN_IN, accounts.make_link(nurse, life=LINK_LIFE))
            click.echo(f"    {'referrer':11} {settings.public_url}/refer/in/{token}")
    click.echo(
        "\n  Advance the demo clock: .venv/bin/flask --app wsgi demo skip 2   two days ahead.\n  Ctrl-C stops everything.\n"
    )


@group.command()
@click.argument("days", type=click.FloatRange(0.01, 365), default=1.0)
@with_appcontext
def skip(days: float) -> None:
    """Move the demo clock DAYS ahead and on to the next office hour, for all processes here; wake due enrolments."""
    _refuse_production()
    now = clock.now()
    moment = clock.move_ahead(_office_hour(now + timedelta(days=days)) - now)
    queue.push([queue.JobRequest("sequences.plan", key=f"skip-{int(moment.timestamp())}")])
    zone = current.settings().clinic.zone
    click.echo(f"It is now {moment.astimezone(zone):%A, %d %B %Y, %H:%M} at the clinic.")


@group.command()
@click.confirmation_option(prompt="Remove the demo clinic and everything that belongs to it?")
@with_appcontext
def remove() -> None:
    """Remove all demo people, leads, mail and accounts. Refuses when there are people who are not of the demo."""
    _refuse_production()
    if db.session.scalar(select(Contact.id).where(~Contact.demo).limit(1)) is not None:
        raise click.ClickException(
            "There are people here who are not of the demo clinic; nothing was removed."
        )
    _empty()
    click.echo("The demo clinic is gone.")


@group.command()
@click.confirmation_option(prompt="Delete everything in this database and make a new demo clinic?")
@click.pass_context
@with_appcontext
def reset(context: click.Context) -> None:
    """Empty the database and make a new demo clinic. Only for the embedded database of this machine."""
    _refuse_production()
    if current.settings().database_url is not None:
        raise click.ClickException("DATABASE_URL names another database; unset it to reset the embedded one.")
    upgrade()
    _empty()
    context.invoke(prepare)


def _office_hour(moment: datetime) -> datetime:
    """The moment itself, or eleven on the next working day: educational email keeps to the reader's office hours."""
    local = moment.astimezone(current.settings().clinic.zone)
    if local.weekday() < 5 and 9 <= local.hour < 17:
        return moment
    if local.hour >= 11:
        local += timedelta(days=1)
    while local.weekday() >= 5:
        local += timedelta(days=1)
    return local.replace(hour=11, minute=0, second=0, microsecond=0).astimezone(UTC)


def _empty() -> None:
    tables = [
        name
        for (name,) in db.session.execute(text("select tablename from pg_tables where schemaname = 'public'"))
    ]
    keep = {"alembic_version", "content_item", "content_version", "content_approval", "role", "time_zone"}
    emptied = ", ".join(f'"{name}"' for name in tables if name not in keep)
    with transaction():
        # The append-only guards are for clinics, not for made-up people.
        db.session.execute(text("set local session_replication_role = replica"))
        db.session.execute(text(f"truncate {emptied} restart identity"))
        db.session.execute(text("insert into sending_control (id) values (1)"))
        copy_guard.accept()  # the mark outside the database is higher than an empty one can have
    queue.redis().flushdb()
    current.settings().audit_seal_file.unlink(missing_ok=True)  # its seals are of the emptied audit log


def _refuse_production() -> None:
    if current.settings().production:
        raise click.ClickException("There is no demo clinic in production.")


def _let_a_referrer_in() -> None:
    """Create a portal account at one of the demo's practices."""
    with acting("system"), transaction():
        home = db.session.scalars(select(Practice).where(Practice.name == SENDERS[0].practice)).first()
        if home is not None:
            zone = str(current.settings().clinic.zone)
            nurse = accounts.invite(practice_id=home.id, name="Rita Referrer", email=NURSE, zone=zone)
            db.session.get_one(Contact, nurse.contact_id).demo = True


def _count_reports() -> None:
    """Count the reports now, so that the first page after the start shows charts."""
    with transaction():
        for report in rollup.REPORTS:
            for period in rollup.due_slices(report):
                rollup.recount(report, period)


def _live_through() -> None:
    """Simulate six months in steps of six hours: leads arrive, people confirm or opt out, staff work, email is sent."""
    from faker import Faker  # noqa: PLC0415 - a second to import, for this command alone

    dice, made_up = random.Random(SEED), {"en": Faker("en_US"), "es": Faker("es_MX")}  # noqa: S311 - a demo's dice
    for number, faker in enumerate(made_up.values()):
        faker.seed_instance(SEED + number)
    start = clock.now() - timedelta(days=DAYS)
    arrivals = sorted(start + _arrival(dice) for _ in range(LEADS))
    agenda: Agenda = []
    outbox = MemoryMailer(name="sendgrid")
    transports.use({"sendgrid": outbox})
    moment = start
    while moment < start + timedelta(days=DAYS):
        if (moment - start) % timedelta(days=30) == timedelta(0):
            click.echo(f"  {(moment - start).days} of {DAYS} days")
        moment += timedelta(hours=6)
        while arrivals and arrivals[0] <= moment:
            with clock.pretend(arrivals.pop(0)):
                agenda += _arrive(dice, made_up)
        agenda.sort(key=lambda item: item[0])
        while agenda and agenda[0][0] <= moment:
            at, act = agenda.pop(0)
            with clock.pretend(at):
                later = act()
            if later:
                agenda += later
                agenda.sort(key=lambda item: item[0])
        with clock.pretend(moment):
            _send_what_is_due(dice)
    transports.use({})


def _arrival(dice: random.Random) -> timedelta:
    """Return how long after the start a person comes in: more and more come, most of them by day, fewer on weekends."""
    for _ in range(8):
        since = timedelta(seconds=(DAYS * 86_400 - 7_200) * dice.random() ** 0.6)
        local = (clock.now() - timedelta(days=DAYS) + since).astimezone(current.settings().clinic.zone)
        if dice.random() < (0.9 if 8 <= local.hour < 20 else 0.25) * (0.4 if local.weekday() > 4 else 1):
            break
    return since


def _arrive(dice: random.Random, made_up: dict[str, "Faker"]) -> Agenda:
    """One person comes in; return what they and the front desk will do later."""
    language = "es" if dice.random() < 0.3 else "en"
    faker = made_up[language]
    first, last = faker.first_name(), faker.last_name()
    person = Person(
        first_name=first,
        last_name=last,
        email=f"{_plain(first)}.{_plain(last)}{dice.randrange(100)}@demo.example",
        phone=f"+1555010{dice.randrange(10_000):04d}",
        language=language,
        time_zone=dice.choice(ZONES),
        state="CA",
    )
    with acting("public"), transaction():
        if dice.random() < 0.25:
            person = replace(person, birth_date=date(1945 + dice.randrange(55), dice.randrange(1, 13), 15))
            opened = intake.open_referral(
                referral=NewReferral(
                    person=person,
                    sender=dice.choices(SENDERS, WEIGHTS)[0],
                    source="portal",
                    sent_at=clock.now(),
                    health={"reason": "Demo referral; not a real person."},
                    patient_informed=True,
                    attestation=consent_texts.current("referral-attestation", language)
                    if dice.random() < 0.7
                    else None,
                ),
                demo=True,
            )
            _keep_sent(opened.lead_id, person)
        else:
            opened = intake.open_contact_request(
                request=ContactRequest(
                    person=person,
                    source="form",
                    message=dice.choice(MESSAGES[language]) if dice.random() < 0.6 else None,
                    heard_from=dice.choice(["search", "friend", "doctor", "other"]),
                    first_touch={"utm_source": dice.choice(["clinic-site", "newsletter", "poster"])},
                    wording=consent_texts.current("contact-form", language) if dice.random() < 0.8 else None,
                ),
                demo=True,
            )
    return _later(dice, opened.contact_id, opened.lead_id)


def _keep_sent(lead_id: int, person: Person) -> None:
    """Keep what the practice typed, so that it can correct the referral."""
    lead = db.session.get_one(Lead, lead_id)
    if lead.referral is not None:
        answers = {
            "first_name": person.first_name,
            "last_name": person.last_name,
            "birth_date": str(person.birth_date),
            "language": person.language,
            "state": person.state or "",
            "email": person.email or "",
            "phone": person.phone or "",
            "reason": "Demo referral; not a real person.",
        }
        corrections.keep_sent(lead.referral, SentForm(answers=answers, contact_id=lead.contact_id))


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isascii() and c.isalpha()) or "demo"


def _later(dice: random.Random, contact_id: int, lead_id: int) -> Agenda:
    now = clock.now()
    acts: Agenda = []
    if dice.random() < 0.75:
        acts.append((now + timedelta(minutes=dice.randrange(5, 2_000)), lambda: _confirm(contact_id)))
    if dice.random() < 0.08:
        acts.append((now + timedelta(days=dice.uniform(4, 30)), lambda: _opt_out(contact_id)))
    soon = dice.random() < 0.85  # most are answered within the hour
    at = (
        now + timedelta(minutes=dice.expovariate(1 / 25))
        if soon
        else now + timedelta(hours=dice.uniform(2, 40))
    )
    acts.append((_desk_time(dice, at), lambda: _work_lead(dice, lead_id)))
    for _ in range(dice.randrange(2, 9)):
        at += timedelta(hours=dice.uniform(1, 90))
        acts.append((_office_hour(at), lambda: _work_lead(dice, lead_id)))
    if dice.random() < 0.95:  # staff finish work on most leads
        for _ in range(8):
            at += timedelta(hours=dice.uniform(4, 48))
            acts.append((_office_hour(at), lambda: _work_lead(dice, lead_id)))
    return acts


def _desk_time(dice: random.Random, moment: datetime) -> datetime:
    """Return the moment itself, or soon after the clinic opens next."""
    opens = current.calendar().next_open(moment)
    return moment if opens == moment else opens + timedelta(minutes=dice.uniform(2, 50))


def _confirm(contact_id: int) -> None:
    found = db.session.execute(
        text(
            "select id from confirmation where contact_id = :id and confirmed_at is null and expires_at > :now"
        ),
        {"id": contact_id, "now": clock.now()},
    ).scalar()
    db.session.rollback()
    if found is not None:
        with acting("public"), transaction():
            consent.confirm(confirmation_id=found)


def _opt_out(contact_id: int) -> None:
    newest = select(Message.id).where(Message.contact_id == contact_id, Message.enrolment_id.is_not(None))
    message_id = db.session.scalar(newest.order_by(Message.id.desc()).limit(1))
    db.session.rollback()
    with acting("public"), transaction():
        consent.withdraw(contact_id=contact_id, topic=None, source="one_click", message_id=message_id)


def _work_lead(dice: random.Random, lead_id: int) -> Agenda | None:
    """Move the lead to another stage as a staff member; a consultation is booked, and takes place later."""
    with acting("system"), transaction():
        lead = db.session.get_one(Lead, lead_id)
        if lead.closed_at is not None or consultations.booked_consultation(lead_id) is not None:
            return None
        to = _next_stage(dice, lead)
        if to is None:
            return None
        if to == consultations.STAGE_WHEN_BOOKED[lead.kind] and consultations.is_bookable(lead):
            return _book(dice, lead)
        target = lead_rules.STAGES[lead.kind][to]
        reasons = sorted(target.reasons - {"no_answer", "wrong_number"})  # these take logged attempts
        owner = _staff_member("front_desk")
        with acting(f"staff:{owner}"):
            if lead.owner_id is None:
                leads.assign(lead_id=lead_id, version=lead.version, owner_id=owner)
                db.session.flush()
            if target.needs_outcome:
                what = {"seen": "report"}.get(lead.stage, "declined")
                leads.record_outcome_sent(lead_id=lead_id, what=what, how="fax")
                db.session.flush()
            leads.move_stage(
                lead_id=lead_id, version=lead.version, to=to, reason=dice.choice(reasons) if reasons else None
            )
            if dice.random() < 0.4:
                leads.add_note(
                    lead_id=lead_id,
                    text=dice.choice(["Called, left a message.", "Spoke; will think about it."]),
                )
    return None


def _staff_member(role: str) -> int | None:
    return db.session.scalar(select(User.id).where(User.email == _address(role)))


def _address(role: str) -> str:
    return f"{role.replace('_', '')}@demo.example"


def _slot(dice: random.Random) -> datetime:
    """Return a time within the next nine days at which the clinic is open, on the hour or half past."""
    asked = clock.now().astimezone(current.settings().clinic.zone) + timedelta(days=dice.randrange(1, 10))
    asked = asked.replace(hour=dice.randrange(9, 16), minute=dice.choice((0, 30)), second=0, microsecond=0)
    return current.calendar().next_open(asked.astimezone(UTC))


def _book(dice: random.Random, lead: Lead) -> Agenda:
    with acting(f"staff:{_staff_member('front_desk')}"):
        made = consultations.book(
            lead_id=lead.id,
            version=lead.version,
            starts_at=_slot(dice),
            minutes=dice.choice((30, 45, 60)),
            clinician_id=_staff_member("clinician"),
            room_id=_room(lead),
            confirmed=True,
        )
    return _until(dice, made)


def _room(lead: Lead) -> int:
    """Return the room of a lead's consultation; the first one adds the rooms."""
    known = queries.rooms() or [rooms.add(name) for name in ROOMS]
    return known[lead.id % len(known)].id


def _until(dice: random.Random, booked: Consultation) -> Agenda:
    """Return what happens to a booked consultation: its end, and for some people another time before it."""
    lead_id, consultation_id = booked.lead_id, booked.id
    over = booked.starts_at + timedelta(hours=dice.uniform(1, 5))
    agenda: Agenda = [(over, lambda: _end_visit(dice, lead_id, consultation_id))]
    if dice.random() < 0.12:
        asked = clock.now() + (booked.starts_at - clock.now()) * dice.uniform(0.2, 0.8)
        agenda.append((asked, lambda: _move_visit(dice, consultation_id)))
    return agenda


def _move_visit(dice: random.Random, consultation_id: int) -> Agenda | None:
    with acting("system"), transaction():
        booked = db.session.get_one(Consultation, consultation_id)
        starts_at = _slot(dice)
        if booked.state != ConsultationState.BOOKED or starts_at == booked.starts_at:
            return None
        with acting(f"staff:{_staff_member('front_desk')}"):
            moved = consultations.rebook(consultation_id=consultation_id, starts_at=starts_at, confirmed=True)
        return _until(dice, moved)


def _end_visit(dice: random.Random, lead_id: int, consultation_id: int) -> None:
    [state] = dice.choices(list(VISIT_ENDS), list(VISIT_ENDS.values()))
    with acting("system"), transaction():
        booked = db.session.get_one(Consultation, consultation_id)
        if booked.state != ConsultationState.BOOKED or not state:
            return
        version = db.session.get_one(Lead, lead_id).version
        with acting(f"staff:{_staff_member('front_desk')}"):
            consultations.finish(consultation_id=consultation_id, state=state, version=version)


def _next_stage(dice: random.Random, lead: Lead) -> str | None:
    """Return a stage that the lead may move to, in most cases one that needs no reason."""
    stages = lead_rules.STAGES[lead.kind]
    unlikely = {"spam", "duplicate", "entered_in_error", "unconfirmed", "new", "closed", "unable_to_reach"}
    ways = sorted(stages[lead.stage].to - unlikely)
    hopeful = [way for way in ways if not stages[way].reasons]
    if not ways:
        return None
    return dice.choice(hopeful) if hopeful and dice.random() < 0.85 else dice.choice(ways)


def _send_what_is_due(dice: random.Random) -> None:
    with acting("system"):
        with transaction():
            planner.plan_due()
        ids = db.session.scalars(
            select(Batch.id).where(Batch.state == "ready", Batch.not_before <= clock.now()).order_by(Batch.id)
        ).all()
        db.session.rollback()
        for batch_id in ids:
            deliver(batch_id, settings=current.settings())
        if ids:
            _events_come_back(dice, list(ids))


def _events_come_back(dice: random.Random, batch_ids: list[int]) -> None:
    rows = db.session.execute(
        select(Message.id, Contact.email)
        .join(Contact, Contact.id == Message.contact_id)
        .where(Message.batch_id.in_(batch_ids), Message.state.is_(None))
    ).all()
    events: list[dict[str, Any]] = []
    for message_id, email in rows:
        chance = dice.random()
        kind = "bounce" if chance < 0.006 else "spamreport" if chance < 0.0065 else "delivered"
        events.append(
            {
                "sg_event_id": f"demo-{message_id}-{kind}",
                "event": kind,
                "type": "bounce",
                "email": email,
                "timestamp": int(clock.now().timestamp()),
                "pp_msg": str(message_id),
            }
        )
    with transaction():
        tracking.apply(tracking.store_only(orjson.dumps(events)))
