"""The Caddyfile of docs/deploy, run by a real Caddy before a server that answers with what it was sent."""

import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.support.stack import free_port, wait_until

FILE = Path(__file__).resolve().parents[2] / "docs/deploy/Caddyfile"
pytestmark = pytest.mark.skipif(
    shutil.which("caddy") is None, reason="Caddy is not installed here (apt-get install caddy)."
)


class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def caddy(tmp_path_factory):
    folder, plain, secure = tmp_path_factory.mktemp("caddy"), free_port(), free_port()
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    local = {
        "\tadmin off": f"\tadmin off\n\tskip_install_trust\n\thttp_port {plain}\n\thttps_port {secure}",
        "\ncrm.clinic.example {": f"\nhttps://localhost:{secure} {{\n\ttls internal",
        "http://crm.clinic.example {": f"http://localhost:{plain} {{",
        "127.0.0.1:8000": f"127.0.0.1:{behind.server_port}",
    }
    text = FILE.read_text()
    for was, now in local.items():
        assert was in text, was
        text = text.replace(was, now)
    (folder / "Caddyfile").write_text(text)
    command = ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    homes = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    with subprocess.Popen(command, env=os.environ | homes, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: _answers(plain), seconds=20, what="Caddy")
        yield f"http://localhost:{plain}", f"https://localhost:{secure}"
        process.terminate()
    behind.shutdown()
    behind.server_close()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://localhost:{port}/api/", timeout=1).status_code == 403
    except requests.RequestException:
        return False


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_what_a_visitor_writes_into_headers_does_not_arrive(caddy):
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.test", "Forwarded": "for=6.6.6.6"}
    seen = requests.get(f"{caddy[1]}/contact", headers=forged, verify=False, timeout=5).json()
    assert seen["x-forwarded-for"] in ("127.0.0.1", "::1")
    assert (seen["x-forwarded-proto"], seen["host"]) == ("https", "crm.clinic.example")
    assert not {"x-forwarded-host", "forwarded"} & set(seen)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/metrics", 0, 404),
        ("/contact", 1_900_000, 200),
        ("/contact", 3_000_000, 413),
        ("/refer", 3_000_000, 200),
    ],
)
def test_closed_paths_and_sizes(caddy, path, size, status):
    answer = requests.post(caddy[1] + path, data=b"x" * size, verify=False, timeout=10)
    assert answer.status_code == status


def test_a_key_in_the_clear_fails_and_a_person_is_led_on(caddy):
    assert requests.post(f"{caddy[0]}/api/v1/contact-requests", timeout=5).status_code == 403
    led = requests.get(f"{caddy[0]}/contact", timeout=5, allow_redirects=False)
    assert (led.status_code, led.headers["Location"]) == (301, "https://crm.clinic.example/contact")
