"""People in front of the installation: staff at the console, and a steady stream of contact requests."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import requests

from crm.consent import consent_texts
from tests.support.stack import Stack

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
_WORDING = consent_texts.current("contact-form", "en").name
_ADMIN = "chaos@clinic.example"


class StaffSession:
    """An administrator's browser, signed in."""

    def __init__(self, stack: Stack) -> None:
        self.url, self.session = stack.web_url, requests.Session()
        if _ADMIN not in stack.flask("staff", "list"):
            stack.flask("staff", "create", _ADMIN, "--role", "admin")
        link = stack.flask("staff", "sign-in-link", _ADMIN).split()[-1]
        self._send(link, page=link)

    def post(self, path: str, **form: str | list[str]) -> None:
        """Send a form of the page *Mail*. Raises if it is not accepted."""
        self._send(f"{self.url}{path}", page=f"{self.url}/console/mail", **form)

    def _send(self, url: str, *, page: str, **form: str | list[str]) -> None:
        found = _TOKEN.search(self.session.get(page, timeout=20).text)
        assert found is not None, f"no form at {page}"
        answer = self.session.post(
            url, data={"csrf_token": found[1], **form}, headers={"Referer": page}, timeout=20
        )
        answer.raise_for_status()


class WebTraffic:
    """Contact requests through the web, all the time, each repeated with its own key until it is answered.

    A context manager. `failures` counts answers that were no answer; each visitor whose request was accepted must be there, once.
    """

    def __init__(self, stack: Stack, *, pause: float = 0.1, at_once: int = 2, letters: bool = True) -> None:
        self.stack, self.pause, self.at_once = stack, pause, at_once
        self.failures: list[str] = []
        self.answered: dict[str, str] = {}  # address -> reference
        self._over = threading.Event()
        self.letters = letters
        self._key = stack.flask("api-key", "create", "chaos", "--scope", "contact-requests:write").split()[-1]

    def __enter__(self) -> "WebTraffic":
        self._pool = ThreadPoolExecutor(self.at_once)
        self._runs = [self._pool.submit(self._keep_writing, place) for place in range(self.at_once)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._pool.shutdown()
        if error is None:
            for run in self._runs:
                run.result()

    def look(self) -> None:
        """Raise what ended one of them early."""
        for run in self._runs:
            if run.done():
                run.result()

    def check(self) -> None:
        """Raise AssertionError where a request that was answered is not there exactly once."""
        with self.stack.sql() as database:
            rows = database.execute("select reference from lead").fetchall()
        references = [reference for (reference,) in rows]
        missing = set(self.answered.values()) - set(references)
        assert not missing, f"{len(missing)} contact requests were answered and are not there"
        assert len(references) == len(set(references))
        assert len(set(self.answered.values())) == len(self.answered), "two requests got one reference"

    def _keep_writing(self, place: int) -> None:
        for number in range(1_000_000):
            if self._over.is_set():
                return
            self._write(f"visitor{self.stack.runs}x{place}x{number}@chaos.example")
            time.sleep(self.pause)

    def _write(self, address: str) -> None:
        """Ask until there is an answer; the last one is waited for after the end, for as long as a restart takes."""
        body: dict[str, str | bool] = {
            "first_name": "Vera",
            "last_name": "Chaos",
            "email": address,
            "language": "en",
        }
        if self.letters:  # each gets an email at once that asks whether they mean it
            body |= {"educational_email": True, "wording": _WORDING}
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": address}
        for _ in range(600):
            try:
                answer = requests.post(
                    f"{self.stack.web_url}/api/v1/contact-requests", json=body, headers=headers, timeout=15
                )
            except requests.RequestException as error:
                self.failures.append(type(error).__name__)
            else:
                if answer.ok:
                    self.answered[address] = answer.json()["reference"]
                    return
                if answer.status_code != 429:
                    self.failures.append(str(answer.status_code))
                assert answer.status_code >= 429, f"{answer.text[:300]} {self._warnings()}"
            time.sleep(0.1)
        raise AssertionError("A contact request was not answered for a minute.")

    def _warnings(self) -> str:
        """Return the last warnings of the web processes: their files go with the installation."""
        lines = (self.stack.folder / "web.log").read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if '"info"' not in line and "[INFO]" not in line][-5:])
