"""Private keys as cosign writes them, made here from its format's description and by PyNaCl."""

import base64
import json
import os
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.secret import SecretBox


def cosign_document(key: bytes, password: bytes, n: int = 65536) -> dict[str, Any]:
    """The JSON inside: `key` is PKCS #8 in DER."""
    salt, nonce = os.urandom(32), os.urandom(24)
    box = SecretBox(Scrypt(salt=salt, length=32, n=n, r=8, p=1).derive(password))
    return {
        "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(box.encrypt(key, nonce).ciphertext).decode(),
    }


def cosign_file(document: dict[str, Any], kind: str = "SIGSTORE") -> bytes:
    """The PEM file around it."""
    text = base64.encodebytes(json.dumps(document, separators=(",", ":")).encode()).decode()
    return f"-----BEGIN ENCRYPTED {kind} PRIVATE KEY-----\n{text}-----END ENCRYPTED {kind} PRIVATE KEY-----\n".encode()
