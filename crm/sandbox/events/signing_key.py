"""The key that signs events: ECDSA on P-256 with SHA-256, over the timestamp followed by the raw body."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"


def signing_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the private key (PEM), making it with mode 0600 when the file is missing."""
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        pem = _make(path)
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(f"{path} is not an EC P-256 private key.")
    return key


def public_key_base64(path: Path) -> str:
    """Return what the verifying side is configured with: base64 of the DER SubjectPublicKeyInfo."""
    der = (
        signing_key(path)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(der).decode()


def signature_headers(key: ec.EllipticCurvePrivateKey, body: bytes, *, at: float) -> dict[str, str]:
    """Sign `body` as of the epoch second `at`; return the two headers that go with it."""
    timestamp = str(int(at))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {SIGNATURE_HEADER: base64.b64encode(signature).decode(), TIMESTAMP_HEADER: timestamp}


def _make(path: Path) -> bytes:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
    try:
        os.link(fresh, path)  # whole or not at all, also when two processes make it at once
    except FileExistsError:
        return path.read_bytes()
    finally:
        fresh.unlink()
    return pem
