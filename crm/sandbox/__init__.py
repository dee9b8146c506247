"""The mail sandbox: SendGrid's API on this machine, with an inbox to read and signed events back.

It knows SendGrid's public interface and nothing of the project that talks to it.
"""

from crm.sandbox.app import create_sandbox
from crm.sandbox.events.signing_key import public_key_base64
from crm.sandbox.server import SandboxServer, run
from crm.sandbox.settings import SandboxSettings

__all__ = ["SandboxServer", "SandboxSettings", "create_sandbox", "public_key_base64", "run"]
