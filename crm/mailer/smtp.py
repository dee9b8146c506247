"""The SMTP transport, for a relay under a business associate agreement, which may carry mail about patients."""

import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formataddr, formatdate, make_msgid
from functools import partial
from urllib.parse import unquote, urlsplit

from crm.mailer import Envelope, Fate, Outcome, PayloadError, PreparedCall, Recipient, tidy_error


@dataclass(frozen=True, slots=True)
class AddressedMessage:
    """One built message and its recipient."""

    to: str
    message: EmailMessage


class SmtpMailer:
    """The transport called `smtp`. One recipient per call: SMTP does not report reliably on each of several."""

    name = "smtp"

    def __init__(self, *, url: str, has_baa: bool, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        self.has_baa = has_baa
        self.host = parts.hostname or ""
        self.implicit_tls = parts.scheme == "smtps"
        self.port = parts.port or (465 if self.implicit_tls else 587)
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        self.timeout = timeout

    def prepare(self, envelope: Envelope, recipients: Sequence[Recipient]) -> PreparedCall:
        """Build the message. Raises PayloadError for more than one recipient."""
        if len(recipients) != 1:
            raise PayloadError("SMTP takes one recipient per call.")
        recipient = recipients[0]
        message = EmailMessage()
        message["Subject"] = fill(envelope.subject, recipient.substitutions)
        message["From"] = formataddr((envelope.from_name, envelope.from_email))
        message["To"] = recipient.email
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=envelope.from_email.rpartition("@")[2])
        if envelope.reply_to:
            message["Reply-To"] = envelope.reply_to
        for name, value in envelope.headers.items():
            message[name] = value
        if envelope.list_unsubscribe:
            message["List-Unsubscribe"] = f"<{recipient.unsubscribe_url}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(fill(envelope.text, recipient.substitutions))
        message.add_alternative(fill(envelope.html, recipient.substitutions), subtype="html")
        return PreparedCall(partial(self.post, AddressedMessage(recipient.email, message)))

    def post(self, prepared: AddressedMessage) -> Outcome:
        """Connect, send the message, and return what is known."""
        try:
            server = self._connect()
        except smtplib.SMTPAuthenticationError as error:
            return Outcome(fate=Fate.UNAUTHORISED, error=tidy_error(error.smtp_code, "sign-in refused"))
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(fate=Fate.TRY_AGAIN, error=tidy_error("not connected", type(error).__name__))
        with server:
            try:
                server.send_message(prepared.message, to_addrs=[prepared.to])
            except smtplib.SMTPRecipientsRefused as error:
                code, text = next(iter(error.recipients.values()))
                return _refusal(code, text)
            except smtplib.SMTPResponseException as error:
                return _refusal(error.smtp_code, error.smtp_error)
            except (OSError, smtplib.SMTPException) as error:
                return Outcome(fate=Fate.UNKNOWN, error=tidy_error("no answer", type(error).__name__))
        return Outcome(fate=Fate.ACCEPTED, provider_id=prepared.message["Message-ID"])

    def _connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.implicit_tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.timeout, context=context
            )
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout)
            if self.host not in ("127.0.0.1", "localhost", "::1"):
                server.starttls(context=context)
        if self.user:
            server.login(self.user, self.password)
        return server


def fill(text: str, substitutions: Mapping[str, str]) -> str:
    """Replace the placeholders with one recipient's values."""
    for placeholder, value in substitutions.items():
        text = text.replace(placeholder, value)
    return text


def _refusal(code: int, text: bytes | str) -> Outcome:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    fate = Fate.TRY_AGAIN if 400 <= code < 500 else Fate.REFUSED
    return Outcome(fate=fate, error=tidy_error(code, words))
