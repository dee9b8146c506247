"""The page behind the buttons of an email (/a/): "I would like a call", "Not now".

As on the other pages behind email links, the link grants access, and GET never changes anything, because scanners open
every link in an email.
"""

from flask import request, url_for
from flask.typing import ResponseReturnValue

from crm.consent.views import add_privacy_headers, language_param, reader_language, render_notice, render_page
from crm.contacts.models import Contact
from crm.core import tokens
from crm.core.blueprints import CsrfCheck, PublicPages
from crm.core.errors import NotFound
from crm.core.tokens import Purpose
from crm.messages import answers
from crm.messages.rules import Answer

pages = PublicPages("answers", __name__, csrf=CsrfCheck.ADDRESS)
pages.after_request(add_privacy_headers)


@pages.errorhandler(NotFound)
def _unreadable(_error: NotFound) -> ResponseReturnValue:
    return render_notice("unknown", None, status=404)


@pages.get("/a/<token>")
def show_answers(token: str) -> ResponseReturnValue:
    """Show the answers as buttons, the one of the link first."""
    _, contact = _reader(token)
    if contact is None:
        return render_notice("gone", None)
    wanted = request.args.get("answer", "")
    offered = sorted(Answer, key=lambda answer: answer.value != wanted)
    links = [(one, url_for(".give", token=token, answer=one.value, **language_param())) for one in offered]
    return render_page("answer", contact, offered=links)


@pages.post("/a/<token>/<answer>")
def give(token: str, answer: str) -> ResponseReturnValue:
    """Record the answer; a second click changes nothing."""
    message_id, contact = _reader(token)
    if answer not in set(Answer):
        raise NotFound("Answer not found.")
    if contact is None:
        return render_notice("gone", None)
    answers.record(message_id=message_id, contact_id=contact.id, answer=Answer(answer))
    guide = url_for("education.guide", lang=reader_language(contact)) if answer == Answer.GUIDE else None
    return render_notice(f"answer_{answer}", contact, contact_us=answer == Answer.NOT_NOW, guide_url=guide)


def _reader(token: str) -> tuple[int, Contact | None]:
    message_id, _ = tokens.read(Purpose.ANSWER, token)
    return message_id, answers.reader(message_id)
