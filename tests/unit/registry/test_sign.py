"""Signed provenance: openssl agrees, and nothing else passes."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.builder.attestations.provenance import make_provenance
from envbuild.errors import InputError, SignatureError
from envbuild.registry.environments import Environment
from envbuild.registry.sign import check_signature, sign

Add = Callable[..., Environment]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two key pairs: ours and theirs."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (folder / f"{name}.pub").write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return folder


@pytest.fixture
def environment(add: Add) -> Environment:
    made = add(identity="a")
    statement = make_provenance("small", [f"sha256:{'a' * 64}"], {}, {}, {"name": "base", "digest": "sha256:b"}, [])
    (made.folder / "provenance.json").write_bytes(statement)
    return made


def test_what_is_signed_is_verified_by_its_key_alone(environment: Environment, keys: Path) -> None:
    sign(environment, keys / "ours.key")
    check_signature(environment, keys / "ours.pub")
    with pytest.raises(SignatureError, match="is not signed by the key"):
        check_signature(environment, keys / "theirs.pub")


def test_openssl_verifies_the_signature(environment: Environment, keys: Path, tmp_path: Path) -> None:
    """DSSE, protocol.md: the signature is over `DSSEv1 LENGTH TYPE LENGTH PAYLOAD`."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    envelope = json.loads(sign(environment, keys / "ours.key").read_bytes())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    assert payload == (environment.folder / "provenance.json").read_bytes()
    assert kind == b"application/vnd.in-toto+json"
    (tmp_path / "signed").write_bytes(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    line = [
        "openssl",
        "dgst",
        "-sha256",
        "-verify",
        keys / "ours.pub",
        "-signature",
        tmp_path / "sig",
        tmp_path / "signed",
    ]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout == "Verified OK\n"


def test_an_envelope_without_key_ids_is_verified_too(environment: Environment, keys: Path) -> None:
    file = sign(environment, keys / "ours.key")
    envelope = json.loads(file.read_bytes())
    envelope["signatures"][0]["keyid"] = ""  # as cosign writes it
    file.write_text(json.dumps(envelope))
    check_signature(environment, keys / "ours.pub")


def test_a_changed_statement_is_refused(environment: Environment, keys: Path) -> None:
    file = sign(environment, keys / "ours.key")
    envelope = json.loads(file.read_bytes())
    changed = base64.b64decode(envelope["payload"]).replace(b"small", b"large")
    file.write_text(json.dumps({**envelope, "payload": base64.b64encode(changed).decode()}))
    with pytest.raises(SignatureError, match="is not signed by the key"):
        check_signature(environment, keys / "ours.pub")


def test_the_signature_of_another_image_is_refused(environment: Environment, add: Add, keys: Path) -> None:
    signed = sign(environment, keys / "ours.key")
    other = add(identity="b")
    shutil.copyfile(signed, other.folder / signed.name)
    with pytest.raises(SignatureError, match="what is signed is not about small:2"):
        check_signature(other, keys / "ours.pub")


def test_what_is_not_signed_or_damaged_is_a_sentence(environment: Environment, keys: Path) -> None:
    with pytest.raises(SignatureError, match="small:1 is not signed; envbuild env sign small:1 --key KEY"):
        check_signature(environment, keys / "ours.pub")
    (environment.folder / "provenance.dsse.json").write_text('{"payload": 1}')
    with pytest.raises(SignatureError, match="is no DSSE envelope"):
        check_signature(environment, keys / "ours.pub")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("hello", "is no private key that can be used"),
        ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "no private key of cosign's that can be used: its end is"),
    ],
)
def test_what_is_no_key_is_a_sentence(environment: Environment, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(InputError, match=sentence):
        sign(environment, tmp_path / "key")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        sign(environment, tmp_path / "missing")


def test_a_version_without_provenance_cannot_be_signed(add: Add, keys: Path) -> None:
    with pytest.raises(InputError, match=r"small:1 has no provenance\.json"):
        sign(add(), keys / "ours.key")


def test_a_private_key_verifies_nothing(environment: Environment, keys: Path) -> None:
    sign(environment, keys / "ours.key")
    with pytest.raises(InputError, match="is a private key; verify with the public one: openssl ec -in"):
        check_signature(environment, keys / "ours.key")


def test_a_password_for_a_key_without_one_is_not_in_the_way(
    environment: Environment, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVBUILD_KEY_PASSWORD", "of another key")
    sign(environment, keys / "ours.key")
    check_signature(environment, keys / "ours.pub")


def test_a_password_that_is_no_text_is_tried_as_it_is(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(b"\xff\xfe")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (tmp_path / "locked.key").write_bytes(pem)
    monkeypatch.setenv("ENVBUILD_KEY_PASSWORD", os.fsdecode(b"\xff\xfe"))
    assert sign(environment, tmp_path / "locked.key").is_file()
