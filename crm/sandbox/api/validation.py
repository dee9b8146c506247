"""What SendGrid's `POST /v3/mail/send` refuses, and how it says so. Pure.

Limits: twilio.com/docs/sendgrid/api-reference/mail-send (limitations, errors) and the official OpenAPI file.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

MAX_REQUEST_BYTES = 30 * 1024 * 1024
MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
MAX_SUBSTITUTION_BYTES = 10_000
MAX_CUSTOM_ARGS_BYTES = 10_000
MAX_CATEGORIES = 10
MAX_CATEGORY_LENGTH = 255
MAX_AHEAD_SECONDS = 72 * 3600
RESERVED_HEADERS = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)
_ADDRESS = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@(?=.{1,253}\Z)"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}"
)
_TYPES = {dict: "object", list: "array", str: "string", int: "integer", bool: "boolean"}


@dataclass(frozen=True)
class Problem:
    """One reason to refuse; `field` is the path into the body, as in `personalizations.3.to.0.email`."""

    message: str
    field: str | None = None


_Checks = Mapping[str, Callable[[object, str], Iterator[Problem]]]  # key of a personalization -> its check


def is_address(value: object) -> bool:
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None


def problems(body: object, *, now: float) -> list[Problem]:
    """Return every reason to refuse this mail/send body, none when it would be accepted.

    `now` is in epoch seconds and bounds `send_at`.
    """
    if not isinstance(body, dict):
        return [Problem("Bad Request")]
    return [
        *_from(body),
        *_personalizations(body, now=now),
        *_reply_to(body),
        *_subject(body),
        *_content(body),
        *_attachments(body),
        *_headers(body.get("headers"), "headers"),
        *_categories(body.get("categories")),
        *_custom_args(body.get("custom_args"), {}, "custom_args"),
        *_send_at(body.get("send_at"), "send_at", now=now),
        *_asm(body.get("asm")),
        *_switches(body),
    ]


def _wrong_type(value: object, wanted: type, field: str) -> Iterator[Problem]:
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        given = "null" if value is None else _TYPES.get(type(value), "number")
        yield Problem(f"Invalid type. Expected: {_TYPES[wanted]}, given: {given}.", field)


def _from(body: dict[str, Any]) -> Iterator[Problem]:
    sender = body.get("from")
    if not isinstance(sender, dict) or not sender.get("email"):
        yield Problem(
            'The from object must be provided for every email send. It is an object that requires the "email" '
            'parameter, but may also contain a "name" parameter.',
            "from.email",
        )
        return
    yield from _sender(sender, "from")


def _sender(sender: object, field: str) -> Iterator[Problem]:
    if not isinstance(sender, dict) or not is_address(sender.get("email")):
        yield Problem("Does not contain a valid address.", f"{field}.email")
        return
    name = sender.get("name", "")
    if not isinstance(name, str):
        yield from _wrong_type(name, str, f"{field}.name")
    elif not name.isascii():
        yield Problem("The from field does not support Unicode characters.", f"{field}.name")


def _personalizations(body: dict[str, Any], *, now: float) -> Iterator[Problem]:
    people = body.get("personalizations")
    if not isinstance(people, list) or not people:
        yield Problem(
            "The personalizations field is required and must have at least one personalization.",
            "personalizations",
        )
        return
    if len(people) > MAX_PERSONALIZATIONS:
        yield Problem(
            f"There is a limit of {MAX_PERSONALIZATIONS} personalizations per request.", "personalizations"
        )
        return
    shared = body.get("custom_args")
    dynamic = isinstance(body.get("template_id"), str) and body["template_id"].startswith("d-")
    checks: _Checks = {
        "from": _sender,
        "subject": _own_subject,
        "headers": _headers,
        "substitutions": partial(_substitutions, dynamic=dynamic),
        "send_at": partial(_send_at, now=now),
    }
    for index, person in enumerate(people):
        field = f"personalizations.{index}"
        if not isinstance(person, dict):
            yield from _wrong_type(person, dict, field)
            continue
        yield from _personalization(person, field, checks)
        if "custom_args" in person:
            yield from _custom_args(
                person["custom_args"], shared if isinstance(shared, dict) else {}, f"{field}.custom_args"
            )
    yield from _all_recipients(people)


def _personalization(person: dict[str, Any], field: str, checks: _Checks) -> Iterator[Problem]:
    if not isinstance(person.get("to"), list) or not person["to"]:
        yield Problem(
            "The to array is required for all personalization objects, and must have at least one email object "
            "with a valid email address.",
            f"{field}.to",
        )
    for kind in ("to", "cc", "bcc"):
        if kind in person:
            yield from _recipients(person[kind], f"{field}.{kind}")
    for name, check in checks.items():
        if name in person:
            yield from check(person[name], f"{field}.{name}")


def _own_subject(subject: object, field: str) -> Iterator[Problem]:
    if not _is_filled(subject):
        yield Problem("The subject must be a string at least one character in length.", field)


def _is_filled(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _recipients(people: object, field: str) -> Iterator[Problem]:
    if not isinstance(people, list):
        yield from _wrong_type(people, list, field)
        return
    for index, person in enumerate(people):
        if not isinstance(person, dict) or not is_address(person.get("email")):
            yield Problem("Does not contain a valid address.", f"{field}.{index}.email")
        elif name := person.get("name"):
            yield from _name(name, f"{field}.{index}.name")


def _name(name: object, field: str) -> Iterator[Problem]:
    if not isinstance(name, str):
        yield from _wrong_type(name, str, field)
    elif ";" in name or "," in name:
        yield Problem("The name may not contain a semicolon or a comma.", field)


def _all_recipients(people: list[Any]) -> Iterator[Problem]:
    """Look at the request as a whole: at most 1000 recipients, and every address once, whatever its case."""
    seen: set[str] = set()
    total = 0
    for field, address in _addresses(people):
        total += 1
        if address in seen:
            yield Problem(
                "Each email address in the personalization block should be unique between to, cc, and bcc. "
                f"We found the first duplicate instance of [{address}] in the {field} field.",
                field,
            )
            return
        seen.add(address)
    if total > MAX_RECIPIENTS:
        yield Problem(
            f"There is a limit of {MAX_RECIPIENTS} total recipients (to + cc + bcc) per request.",
            "personalizations",
        )


def _addresses(people: list[Any]) -> Iterator[tuple[str, str]]:
    for index, person in enumerate(people):
        if not isinstance(person, dict):
            continue
        for kind in ("to", "cc", "bcc"):
            for recipient in person.get(kind) or () if isinstance(person.get(kind), list) else ():
                if isinstance(recipient, dict) and isinstance(recipient.get("email"), str):
                    yield f"personalizations.{index}.{kind}", recipient["email"].lower()


def _substitutions(tags: object, field: str, *, dynamic: bool) -> Iterator[Problem]:
    if not isinstance(tags, dict):
        yield from _wrong_type(tags, dict, field)
    elif dynamic and tags:
        yield Problem("Substitutions may not be used with dynamic templating.", field)
    elif not all(isinstance(value, str) for value in tags.values()):
        yield Problem("The substitutions values must be strings.", field)
    elif _bytes(tags) > MAX_SUBSTITUTION_BYTES:
        yield Problem(
            f"Invalid replacement size. The substitutions may not exceed {MAX_SUBSTITUTION_BYTES} bytes in "
            "total for each personalization.",
            field,
        )


def _custom_args(arguments: object, shared: dict[str, Any], field: str) -> Iterator[Problem]:
    if arguments is None:
        return
    if not isinstance(arguments, dict):
        yield from _wrong_type(arguments, dict, field)
    elif not all(isinstance(value, str) for value in arguments.values()):
        yield Problem("The custom_args values must be strings.", field)
    elif _bytes({**shared, **arguments}) > MAX_CUSTOM_ARGS_BYTES:
        yield Problem(f"The custom_args may not exceed {MAX_CUSTOM_ARGS_BYTES} bytes in total.", field)


def _bytes(strings: dict[str, Any]) -> int:
    return sum(len(key.encode()) + len(str(value).encode()) for key, value in strings.items())


def _headers(headers: object, field: str) -> Iterator[Problem]:
    if headers is None:
        return
    if not isinstance(headers, dict):
        yield from _wrong_type(headers, dict, field)
        return
    for name, value in headers.items():
        if name.lower() in RESERVED_HEADERS:
            yield Problem(f"The header {name} is reserved and may not be set.", f"{field}.{name}")
        elif not isinstance(value, str):
            yield Problem("The header values must be strings.", f"{field}.{name}")
        elif not re.fullmatch(r"[!-9;-~]+", name) or re.search(r"[\r\n\0]", value):
            yield Problem("The header is not a valid mail header.", f"{field}.{name}")


def _reply_to(body: dict[str, Any]) -> Iterator[Problem]:
    if "reply_to" in body and "reply_to_list" in body:
        yield Problem("Either reply_to or reply_to_list may be used, not both.", "reply_to_list")
    if "reply_to" in body:
        yield from _reply_address(body["reply_to"], "reply_to")
    many = body.get("reply_to_list", [])
    if not isinstance(many, list) or len(many) > MAX_RECIPIENTS:
        yield Problem("The reply_to_list must be an array of at most 1000 email objects.", "reply_to_list")
        return
    for index, one in enumerate(many):
        yield from _reply_address(one, f"reply_to_list.{index}")


def _reply_address(one: object, field: str) -> Iterator[Problem]:
    if not isinstance(one, dict) or not is_address(one.get("email")):
        yield Problem("The reply_to email does not contain a valid address.", f"{field}.email")


def _subject(body: dict[str, Any]) -> Iterator[Problem]:
    subject = body.get("subject")
    if isinstance(subject, str) and subject:
        return
    people = body.get("personalizations")
    each_has_one = isinstance(people, list) and all(
        isinstance(person, dict) and person.get("subject") for person in people
    )
    if not body.get("template_id") and not each_has_one:
        yield Problem(
            "The subject is required. You can get around this requirement if you use a template with a subject "
            "defined or if every personalization has a subject defined.",
            "subject",
        )


def _content(body: dict[str, Any]) -> Iterator[Problem]:
    parts = body.get("content")
    if not isinstance(parts, list) or not parts:
        if not body.get("template_id"):
            yield Problem(
                "Unless a valid template_id is provided, the content parameter is required. There must be at "
                "least one defined content block.",
                "content",
            )
        return
    for index, part in enumerate(parts):
        for key in ("type", "value"):
            if not isinstance(part, dict) or not _is_filled(part.get(key)):
                yield Problem(
                    f"The content {key} must be a string at least one character in length.",
                    f"content.{index}.{key}",
                )
    yield from _content_order([part.get("type") for part in parts if isinstance(part, dict)])


def _content_order(types: list[Any]) -> Iterator[Problem]:
    if any(types.count(one) > 1 for one in ("text/plain", "text/html")):
        yield Problem("If present, text/plain and text/html may only be provided once.", "content")
    ranks = [{"text/plain": 0, "text/html": 1}.get(one, 2) if isinstance(one, str) else 2 for one in types]
    if ranks != sorted(ranks):
        yield Problem(
            "If present, text/plain must come first, text/html second, and any other content after them.",
            "content",
        )


def _attachments(body: dict[str, Any]) -> Iterator[Problem]:
    files = body.get("attachments", [])
    if not isinstance(files, list):
        yield from _wrong_type(files, list, "attachments")
        return
    for index, file in enumerate(files):
        for key in ("content", "filename"):
            if not isinstance(file, dict) or not _is_filled(file.get(key)):
                yield Problem(
                    f"The attachment {key} must be a string at least one character in length.",
                    f"attachments.{index}.{key}",
                )


def _categories(categories: object) -> Iterator[Problem]:
    if categories is None:
        return
    if not isinstance(categories, list) or not all(isinstance(one, str) for one in categories):
        yield Problem("The categories must be an array of strings.", "categories")
        return
    if len(categories) > MAX_CATEGORIES:
        yield Problem(f"There is a limit of {MAX_CATEGORIES} categories.", "categories")
    if len(set(categories)) < len(categories):
        yield Problem("The categories must be unique.", "categories")
    for index, category in enumerate(categories):
        if len(category) > MAX_CATEGORY_LENGTH:
            yield Problem(
                f"A category may not exceed {MAX_CATEGORY_LENGTH} characters.", f"categories.{index}"
            )


def _send_at(moment: object, field: str, *, now: float) -> Iterator[Problem]:
    if moment is None:
        return
    if not isinstance(moment, int) or isinstance(moment, bool):
        yield from _wrong_type(moment, int, field)
    elif moment > now + MAX_AHEAD_SECONDS:
        yield Problem("The send_at parameter may not be more than 72 hours in the future.", field)


def _asm(asm: object) -> Iterator[Problem]:
    if asm is None:
        return
    if not isinstance(asm, dict) or not isinstance(asm.get("group_id"), int):
        yield Problem("The asm group_id is required and must be an integer.", "asm.group_id")
    elif len(asm.get("groups_to_display") or ()) > 25:
        yield Problem("There is a limit of 25 groups to display.", "asm.groups_to_display")


def _switches(body: dict[str, Any]) -> Iterator[Problem]:
    """Every `enable` in mail_settings and tracking_settings is a real boolean, never a string or a number."""
    for block in ("mail_settings", "tracking_settings"):
        for name, setting in (body.get(block) or {}).items() if isinstance(body.get(block), dict) else ():
            if isinstance(setting, dict) and not isinstance(setting.get("enable", False), bool):
                yield from _wrong_type(setting["enable"], bool, f"{block}.{name}.enable")
        if block in body:
            yield from _wrong_type(body[block], dict, block)
