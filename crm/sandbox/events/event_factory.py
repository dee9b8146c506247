"""The event factory: builds the events of an accepted request."""

from collections.abc import Iterator, Mapping
from sqlite3 import Connection
from typing import Any

import orjson

from crm.sandbox.events.magic_addresses import SUPPRESSES, Recipient, build_event, event_waves
from crm.sandbox.inbox import receivers
from crm.sandbox.mail import custom_args

Suppression = tuple[str, str, int, str, str]  # address, list, epoch seconds, reason, status
_BYPASSES = {
    "spam_reports": "bypass_spam_management",
    "bounces": "bypass_bounce_management",
    "unsubscribes": "bypass_unsubscribe_management",
    "invalid_emails": "",
}


def make_events(
    request_id: str, body: dict[str, Any], lists: Mapping[str, str], *, at: float, gap: float
) -> tuple[list[list[bytes]], list[Suppression]]:
    """Return the waves of events of a request, each event as JSON, and whom they put on which list.

    `lists` says of addresses (in lower case) which list they are on; `at` epoch seconds of the first wave, `gap`
    seconds between waves.
    """
    waves: list[list[bytes]] = []
    suppressed: list[Suppression] = []
    for recipient in _everyone(request_id, body):
        on_list = lists.get(recipient.email.lower())
        so_far: list[bytes] = []
        for number, kinds in enumerate(event_waves(recipient.email, suppressed=on_list)):
            if len(waves) == number:
                waves.append([])
            if kinds == ("again",):
                waves[number] += so_far
                continue
            for kind in kinds:
                one = build_event(kind, recipient, at=at + number * gap, attempt=number, suppressed=on_list)
                so_far.append(orjson.dumps(one))
                waves[number].append(so_far[-1])
                if added := suppression(kind, one):
                    suppressed.append(added)
    return waves, suppressed


def suppression(kind: str, event: Mapping[str, Any]) -> Suppression | None:
    """Return the entry that an event of this kind makes in a list, if it makes one."""
    if kind not in SUPPRESSES:
        return None
    reason, status = event.get("reason", ""), event.get("status", "")
    return event["email"].lower(), SUPPRESSES[kind], event["timestamp"], reason, status


def suppressing_lists(connection: Connection, body: dict[str, Any]) -> dict[str, str]:
    """Return address -> list for the receivers SendGrid would not write to, minding the bypass settings."""
    bypassed = _enabled_settings(body)
    if "bypass_list_management" in bypassed:
        return {}
    addresses = [address.lower() for person in body["personalizations"] for address in receivers(person)]
    found = connection.execute(
        "SELECT email, list FROM suppressions WHERE email IN (SELECT value FROM json_each(?))",
        (orjson.dumps(addresses).decode(),),
    )
    return {email: name for email, name in found if name in _BYPASSES and _BYPASSES[name] not in bypassed}


def _enabled_settings(body: dict[str, Any]) -> set[str]:
    settings = (body.get("mail_settings") or {}).items()
    return {name for name, setting in settings if isinstance(setting, dict) and setting.get("enable")}


def _everyone(request_id: str, body: dict[str, Any]) -> Iterator[Recipient]:
    categories = tuple(body.get("categories") or ())
    for index, person in enumerate(body["personalizations"]):
        arguments = custom_args(body, person)
        for address in receivers(person):
            yield Recipient(
                email=address,
                request_id=request_id,
                index=index,
                custom_args=arguments,
                categories=categories,
            )
