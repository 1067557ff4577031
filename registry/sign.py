"""A registered version in, its signed provenance out: a DSSE envelope (https://github.com/secure-systems-lab/dsse).

    environments/NAME/VERSION/provenance.dsse.json

Keys are PEM files: a private key in PKCS #8 (`openssl ecparam -genkey -name prime256v1 | openssl pkcs8 -topk8`), and
for verifying the public key (`openssl ec -pubout`, or cosign's `cosign.pub`). ECDSA P-256 is what cosign uses; the
library takes Ed25519 and RSA too. cosign's own encrypted private keys are read as well (`cosign_key`).
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.builder import atomic
from envbuild.builder.attestations import provenance
from envbuild.errors import InputError, SignatureError

from .cosign_key import WrongPassword, is_cosign_key, open_cosign_key
from .environments import Environment

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

FILE_NAME = "provenance.dsse.json"
PASSWORD = "ENVBUILD_KEY_PASSWORD"
"""The environment variable that holds the private key's password, where it has one."""
_COSIGN_PASSWORD = "COSIGN_PASSWORD"
"""What cosign itself reads; asked second, and only for its own files."""


def sign(environment: Environment, key: Path) -> Path:
    """Sign the provenance of `environment` with the private key in `key`; return the envelope's file.

    Raises:
        InputError: the key cannot be used, or the version has no provenance.
    """
    signer = _signer(key)
    from securesystemslib.dsse import Envelope

    try:
        payload = (environment.folder / provenance.FILE_NAME).read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{environment.reference} has no {provenance.FILE_NAME}; it was registered by an older envbuild or made "
            "elsewhere: register it again"
        ) from None
    envelope = Envelope(payload, provenance.PAYLOAD_TYPE, {})
    envelope.sign(signer)
    file = environment.folder / FILE_NAME
    atomic.write_file(file, json.dumps(envelope.to_dict(), sort_keys=True).encode(), durable=True)
    return file


def check_signature(environment: Environment, key: Path) -> None:
    """Check that the key in `key` signed the provenance of this very image.

    Raises:
        SignatureError: there is no signature, it is not by that key, or it is about something else.
        InputError: the key cannot be used.
    """
    public = _public_key(key)
    envelope = _envelope(environment)
    if not _is_signed_by(envelope, public):
        raise SignatureError(f"the provenance of {environment.reference} is not signed by the key {key}")
    record: Any = environment.record
    image = record.get("index", record["image"])["digest"]
    try:
        subjects = {f"sha256:{each['digest']['sha256']}" for each in json.loads(envelope.payload)["subject"]}
    except (ValueError, KeyError, TypeError):
        subjects = set()
    if envelope.payload_type != provenance.PAYLOAD_TYPE or image not in subjects:
        raise SignatureError(
            f"what is signed is not about {environment.reference}: its image is {image}, "
            f"the statement names {', '.join(sorted(subjects)) or 'none'}"
        )


def _envelope(environment: Environment) -> "Envelope":
    from securesystemslib.dsse import Envelope

    file = environment.folder / FILE_NAME
    try:
        return Envelope.from_dict(json.loads(file.read_bytes()))
    except FileNotFoundError:
        raise SignatureError(
            f"{environment.reference} is not signed; envbuild env sign {environment.reference} --key KEY"
        ) from None
    except Exception as error:  # the library has its own errors for each field
        raise SignatureError(f"{file} is no DSSE envelope ({error})") from None


def _is_signed_by(envelope: "Envelope", key: "SSlibKey") -> bool:
    """Whether one of the signatures is by `key`, whatever key id it has (in DSSE a hint, and cosign writes none)."""
    from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
    from securesystemslib.signer import Signature

    for signature in envelope.signatures.values():
        try:
            key.verify_signature(Signature(key.keyid, signature.signature), envelope.pae())
        except (UnverifiedSignatureError, VerificationError):
            continue
        return True
    return False


def _signer(file: Path) -> "CryptoSigner":
    data = _read(file)
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    password = os.fsencode(os.environ.get(PASSWORD, ""))  # any bytes can be one
    try:
        if is_cosign_key(data):
            return CryptoSigner(load_der_private_key(_opened(file, data, password), None))
        return CryptoSigner(load_pem_private_key(data, password if password and _is_encrypted(data) else None))
    except TypeError:
        raise InputError(f"{file} has a password; say it in the variable {PASSWORD}") from None
    except InputError:
        raise
    except Exception as error:  # of either library
        if password and _is_encrypted(data):
            raise InputError(f"the password in {PASSWORD} does not open {file}") from None
        raise InputError(
            f"{file} is no private key that can be used ({str(error).splitlines()[0]}); expected a PEM file in "
            "PKCS #8, made by: openssl ecparam -genkey -name prime256v1 | openssl pkcs8 -topk8 -nocrypt"
        ) from None


def _is_encrypted(data: bytes) -> bool:
    return b"ENCRYPTED" in data


def _opened(file: Path, data: bytes, password: bytes) -> bytes:
    """What is in a file of cosign's; a key that was made without a password has an empty one."""
    try:
        return open_cosign_key(data, password or os.fsencode(os.environ.get(_COSIGN_PASSWORD, "")))
    except WrongPassword:
        if password or os.environ.get(_COSIGN_PASSWORD):
            name = PASSWORD if password else _COSIGN_PASSWORD
            raise InputError(f"the password in {name} does not open {file}") from None
        raise InputError(f"{file} has a password; say it in the variable {_COSIGN_PASSWORD} or {PASSWORD}") from None
    except ValueError as error:
        raise InputError(f"{file} is no private key of cosign's that can be used: {error}") from None


def _public_key(file: Path) -> "SSlibKey":
    data = _read(file)
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    if b"PRIVATE KEY-----" in data:
        raise InputError(f"{file} is a private key; verify with the public one: openssl ec -in {file} -pubout")
    try:
        return SSlibKey.from_crypto(load_pem_public_key(data))
    except Exception as error:  # of either library
        raise InputError(
            f"{file} is no public key that can be used ({str(error).splitlines()[0]}); expected a PEM file, made by: "
            "openssl ec -in KEY -pubout"
        ) from None


def _read(file: Path) -> bytes:
    try:
        import cryptography  # noqa: F401
        import securesystemslib  # noqa: F401
    except ImportError:
        raise InputError("signing needs two more libraries: pip install 'envbuild[sign]'") from None
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"the key {file} cannot be read: {error.strerror}") from None
