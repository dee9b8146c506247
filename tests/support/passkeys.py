"""A phone with one passkey, made of cryptography and CBOR alone."""

import base64
import hashlib
import json
from dataclasses import dataclass, field

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN = "https://crm.clinic.example"


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def data(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(kw_only=True)
class Device:
    """A phone with one passkey. What it signs is as WebAuthn Level 2 says in sections 5.8.1 and 6.1."""

    origin: str = ORIGIN
    verified: bool = True  # by fingerprint or the like
    count: int = 1
    credential_id: bytes = b"\x07" * 32
    handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _authenticator(self, site: str, *, attested: bytes = b"") -> bytes:
        flags = 0x01 | (0x04 if self.verified else 0) | (0x40 if attested else 0)
        return (
            hashlib.sha256(site.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big") + attested
        )

    def make(self, options: dict) -> str:
        self.handle = data(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})  # COSE: EC2, ES256, P-256
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + public
        seen = self._authenticator(options["rp"]["id"], attested=attested)
        return self._answer(
            clientDataJSON=self._client("webauthn.create", options["challenge"]),
            attestationObject=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": seen}),
        )

    def use(self, options: dict) -> str:
        self.count += 1
        client = self._client("webauthn.get", options["challenge"])
        seen = self._authenticator(options["rpId"])
        signed = self.key.sign(seen + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            clientDataJSON=client, authenticatorData=seen, signature=signed, userHandle=self.handle
        )

    def _answer(self, **parts: bytes) -> str:
        own = text(self.credential_id)
        response = {name: text(part) for name, part in parts.items()}
        return json.dumps({"id": own, "rawId": own, "type": "public-key", "response": response})
