"""Two apps with different settings in one process: neither sees what belongs to the other."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from crm.app import create_app
from crm.contacts import queries as people
from crm.content import approval
from crm.content import service as content
from crm.core import clock, crypto, current, limits, queue, tokens
from crm.core.config import Clinic, ConfigError
from crm.core.errors import NotFound
from crm.core.events import Event, publish
from crm.core.field_keys import CannotDecrypt
from crm.core.limits import Limit
from crm.core.tokens import Purpose
from crm.messages import transports
from tests.support.servers import redis_database

OPEN_AT = datetime(2026, 3, 3, 17, 30, tzinfo=UTC)  # 9:30 in Los Angeles, 12:30 in New York


@pytest.fixture
def two(settings, redis, tmp_path):
    """An app in Los Angeles and one in New York, which share nothing but the process."""
    west = create_app(replace(settings, local_dir=tmp_path / "west"))
    east = create_app(
        replace(
            settings,
            secret_keys=("another-secret-0123456789-0123456789-0123456",),
            field_keys=(("e1", b"e" * 32),),
            public_url="https://east.example",
            local_dir=tmp_path / "east",
            sendgrid_api_key="SG.east",
            smtp_url="smtp://relay.east.example",
            smtp_has_baa=True,
            reviewers=1,
            clinic=Clinic(
                name="East Clinic",
                short_name="East Clinic",
                time_zone="America/New_York",
                hours="Mon-Fri 13:00-15:00",
            ),
        )
    )
    number = redis.connection_pool.connection_kwargs["db"]
    west.services.redis = redis
    east.services.redis = redis_database(settings.redis_url, 15 if number != 15 else 14)
    east.services.redis.flushdb()
    yield west, east
    east.services.redis.flushdb()
    east.services.redis.close()


def in_each(two, look):
    """What `look` returns in each app, asked in turn and once more, so that a shared value would show."""
    found = []
    for app in (*two, *two):
        with app.app_context():
            found.append(look())
    assert found[:2] == found[2:]
    return tuple(found[:2])


def test_settings_and_clinic(two):
    assert in_each(two, lambda: current.settings().reviewers) == (2, 1)
    assert in_each(two, approval.reviewers) == (2, 1)
    west, east = in_each(two, content.clinic_facts)
    assert (east.name, east.public_url) == ("East Clinic", "https://east.example")
    assert west.name != east.name
    assert in_each(two, content.host)[1] == "east.example"


def test_nested_app_contexts(two):
    west, east = two
    with west.app_context():
        before = current.settings()
        with east.app_context():
            assert current.settings().clinic.name == "East Clinic"
        assert current.settings() is before


def test_opening_hours(two):
    zones = in_each(two, lambda: current.calendar().zone.key)
    assert zones == ("America/Los_Angeles", "America/New_York")
    west, east = in_each(two, lambda: current.calendar().after(OPEN_AT, timedelta(hours=1)))
    assert (west, east) == (OPEN_AT + timedelta(hours=1), OPEN_AT + timedelta(hours=1, minutes=30))


def test_field_keys(two):
    west, east = two
    with west.app_context():
        sealed, index = crypto.encrypt(b"Ana"), crypto.blind_index("email", "ana@example.com")
    with east.app_context():
        with pytest.raises(CannotDecrypt):
            crypto.decrypt(sealed)
        assert crypto.blind_index("email", "ana@example.com") != index
    with west.app_context():
        assert crypto.decrypt(sealed) == b"Ana"


def test_link_keys(two):
    west, east = two
    with west.app_context():
        token = tokens.sign(Purpose.UNSUBSCRIBE, 7)
    with east.app_context(), pytest.raises(NotFound):
        tokens.read(Purpose.UNSUBSCRIBE, token)
    with west.app_context():
        assert tokens.read(Purpose.UNSUBSCRIBE, token) == (7, 0)


def test_session_keys(two):
    assert two[0].config["SECRET_KEY"] != two[1].config["SECRET_KEY"]


def test_transports(two):
    assert in_each(two, lambda: list(transports.mailers())) == (["sendgrid"], ["sendgrid", "smtp"])
    mailers = in_each(two, lambda: transports.mailers()["sendgrid"])
    assert mailers[0] is not mailers[1]
    with two[1].app_context():
        transports.use({"memory": mailers[0]})
    assert in_each(two, lambda: list(transports.mailers())) == (["sendgrid"], ["memory"])


def test_redis_and_queues(two):
    west, _ = two
    with west.app_context():
        queue.push([queue.JobRequest("messages.sweep")])
    assert in_each(two, lambda: queue.queue(queue.URGENT).count) == (1, 0)


def test_rate_limits(two):
    once = Limit(name="two", who="ana", most=1, seconds=60)
    west, east = two
    with west.app_context():
        assert limits.hit([once]) is None
        assert limits.hit([once]) is not None
    with east.app_context():
        assert limits.hit([once]) is None


def test_rate_limits_without_redis(two, monkeypatch):
    once = Limit(name="two", who="ana", most=1, seconds=60)
    for app in two:
        monkeypatch.setattr(app.services, "redis", Redis.from_url("redis://127.0.0.1:1"))
        app.services.field_keys = two[0].services.field_keys  # the same key in the fallback's table
    for app in two:
        with app.app_context():
            assert limits.hit([once]) is None


def test_demo_clock(two):
    with two[1].app_context():
        clock.move_ahead(timedelta(days=3))
    ahead = [moment - datetime.now(UTC) for moment in in_each_moment(two)]
    assert abs(ahead[0]) < timedelta(minutes=1)
    assert abs(ahead[1] - timedelta(days=3)) < timedelta(minutes=1)


def in_each_moment(two):
    for app in two:
        with app.app_context():
            yield clock.now()


def test_time_outside_an_app_is_real_time(two):
    found = []
    thread = threading.Thread(target=lambda: found.append(clock.now()))
    with two[1].app_context():
        clock.move_ahead(timedelta(days=3))
        thread.start()
        thread.join()
    assert abs(found[0] - datetime.now(UTC)) < timedelta(minutes=1)


def test_reactions(two):
    class Happened(Event):
        pass

    seen = []
    for name, app in zip(("west", "east"), two, strict=True):
        app.services.reactions = {Happened: [lambda _event, name=name: seen.append(name)]}
    for app in (*two, two[0]):
        with app.app_context():
            publish(Happened())
    assert seen == ["west", "east", "west"]


def test_timeline_sources(two):
    assert {"activity", "consent", "mail"} <= set(two[0].services.timeline_sources)
    two[1].services.timeline_sources = {"activity": people.activity_source}
    assert in_each(two, lambda: len(current.services().timeline_sources))[1] == 1


def test_per_app_values(two):
    kept = current.PerApp(lambda settings: [settings.clinic.name])
    west, east = in_each(two, kept.get)
    assert (west[0] == east[0]) is False
    with two[0].app_context():
        assert kept.get() is west
        kept.set(["other"])
    assert in_each(two, kept.get) == (["other"], east)


def test_no_services_outside_an_app():
    with pytest.raises(RuntimeError):
        current.services()


def test_sender_name_about_health_stops_the_start(settings):
    clinic = replace(settings.clinic, short_name="Ketamine Clinic")
    with pytest.raises(ConfigError):
        create_app(replace(settings, clinic=clinic))
