"""cosign's own private key file in, the key inside out.

A PEM block whose content is JSON: scrypt makes a key of the password, and NaCl's secretbox holds the private key in
PKCS #8 (DER). The format is that of go-securesystemslib's package `encrypted`, which has no other document than its
source. Its three strengths of scrypt are taken and no others, as it does itself: a file must not choose how much memory
is used.
"""

import base64
import binascii
import json
import re

from envbuild.errors import InputError

_BLOCK = re.compile(rb"-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----(.*?)-----END ENCRYPTED \1", re.DOTALL)
_STRENGTHS = ((32768, 8, 1), (65536, 8, 1), (131072, 8, 1))
"""(N, r, p); the first is what cosign used until version 2.2."""


class WrongPassword(Exception):
    """The password does not open the key, or the file was changed; nobody can tell which."""


def is_cosign_key(data: bytes) -> bool:
    """Whether `data` is a private key as cosign writes it."""
    return b"-----BEGIN ENCRYPTED SIGSTORE" in data or b"-----BEGIN ENCRYPTED COSIGN" in data


def open_cosign_key(data: bytes, password: bytes) -> bytes:
    """The private key in PKCS #8, DER.

    Raises:
        WrongPassword: `password` does not open it.
        ValueError: it is damaged, or of a kind that cosign does not write.
        InputError: the library for it is not installed.
    """
    try:
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox
    except ImportError:
        raise InputError("cosign's key files need one more library: pip install 'envbuild[sign]'") from None
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    salt, strength, nonce, ciphertext = _parts(data)
    n, r, p = strength
    try:
        key = Scrypt(salt=salt, length=SecretBox.KEY_SIZE, n=n, r=r, p=p).derive(password)
        return bytes(SecretBox(key).decrypt(ciphertext, nonce))
    except CryptoError:
        raise WrongPassword from None


def _parts(data: bytes) -> tuple[bytes, tuple[int, int, int], bytes, bytes]:
    block = _BLOCK.search(data)
    if block is None:
        raise ValueError("its end is missing")
    try:
        said = json.loads(base64.b64decode(b"".join(block[2].split()), validate=True))
        names = (said["kdf"]["name"], said["cipher"]["name"])
        strength = tuple(int(said["kdf"]["params"][name]) for name in ("N", "r", "p"))
        salt, nonce, ciphertext = (
            base64.b64decode(each, validate=True)
            for each in (said["kdf"]["salt"], said["cipher"]["nonce"], said["ciphertext"])
        )
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise ValueError("its content is damaged") from None
    if names != ("scrypt", "nacl/secretbox") or strength not in _STRENGTHS or len(nonce) != 24:
        raise ValueError(f"it is encrypted by {' and '.join(map(str, names))} in a way that cosign does not use")
    return salt, (strength[0], strength[1], strength[2]), nonce, ciphertext
