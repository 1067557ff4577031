"""cosign's key files: opened by their password alone, and nothing in them is taken on trust."""

import copy
from typing import Any

import pytest
from cosign_files import cosign_document, cosign_file

from envbuild.registry.cosign_key import WrongPassword, is_cosign_key, open_cosign_key

KEY = b"a private key"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return cosign_document(KEY, b"secret")


@pytest.mark.parametrize("kind", ["SIGSTORE", "COSIGN"])
def test_the_password_opens_it(document: dict[str, Any], kind: str) -> None:
    file = cosign_file(document, kind)
    assert is_cosign_key(file)
    assert open_cosign_key(file, b"secret") == KEY
    assert open_cosign_key(file.replace(b"\n", b"\r\n"), b"secret") == KEY
    with pytest.raises(WrongPassword):
        open_cosign_key(file, b"Secret")


@pytest.mark.parametrize("n", [32768, 131072])
def test_every_strength_that_cosign_has_used_is_read(n: int) -> None:
    assert open_cosign_key(cosign_file(cosign_document(KEY, b"", n)), b"") == KEY


def test_a_changed_ciphertext_is_refused(document: dict[str, Any]) -> None:
    changed = copy.deepcopy(document)
    first = changed["ciphertext"][0]
    changed["ciphertext"] = ("A" if first != "A" else "B") + changed["ciphertext"][1:]
    with pytest.raises(WrongPassword):
        open_cosign_key(cosign_file(changed), b"secret")


@pytest.mark.parametrize(
    ("part", "name", "value", "sentence"),
    [
        ("kdf", "params", {"N": 1 << 30, "r": 8, "p": 1}, "in a way that cosign does not use"),
        ("kdf", "params", {"N": 65536}, "its content is damaged"),
        ("kdf", "name", "argon2", "encrypted by argon2 and nacl/secretbox in a way"),
        ("kdf", "salt", "not base64", "its content is damaged"),
        ("cipher", "name", "aes", "encrypted by scrypt and aes in a way"),
        ("cipher", "nonce", "AAAA", "in a way that cosign does not use"),
    ],
)
def test_what_cosign_does_not_write_is_a_sentence(
    document: dict[str, Any], part: str, name: str, value: object, sentence: str
) -> None:
    changed = copy.deepcopy(document)
    changed[part][name] = value
    with pytest.raises(ValueError, match=sentence):
        open_cosign_key(cosign_file(changed), b"secret")


@pytest.mark.parametrize("cut", [60, 300])
def test_half_a_file_is_a_sentence(document: dict[str, Any], cut: int) -> None:
    with pytest.raises(ValueError, match="its end is missing"):
        open_cosign_key(cosign_file(document)[:cut], b"secret")
    with pytest.raises(ValueError, match="its content is damaged"):
        open_cosign_key(cosign_file(document)[:cut] + b"\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----", b"secret")
