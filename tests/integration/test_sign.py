"""`env sign` and `verify --key`, with keys made by openssl and keys in cosign's format."""

import json
import subprocess
from pathlib import Path

import pytest
from cosign_files import cosign_document, cosign_file
from harness import Project, need


def openssl(*words: str | Path, data: bytes = b"") -> bytes:
    return subprocess.run([need("openssl"), *words], input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key pairs: `ours`, `theirs`; ours with a pass phrase is `secret`, and as cosign has it `cosign`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        made = openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout")
        (folder / f"{name}.key").write_bytes(openssl("pkcs8", "-topk8", "-nocrypt", data=made))
        (folder / f"{name}.pub").write_bytes(openssl("ec", "-pubout", data=made))
    ours = (folder / "ours.key").read_bytes()
    (folder / "secret.key").write_bytes(openssl("pkcs8", "-topk8", "-passout", "pass:open sesame", data=ours))
    der = openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", data=ours)
    (folder / "cosign.key").write_bytes(cosign_file(cosign_document(der, b"open sesame")))
    return folder


@pytest.fixture
def signed(registered: Project, keys: Path) -> Project:
    done = registered.envbuild("env", "sign", "small", "--key", keys / "ours.key")
    assert (done.returncode, done.stdout.startswith("small:1  signed: ")) == (0, True), done.stderr
    return registered


def test_what_is_signed_is_verified_with_the_build(signed: Project, keys: Path) -> None:
    done = signed.envbuild("verify", "small", "--key", keys / "ours.pub")
    assert done.returncode == 0, done.stderr
    assert f"the provenance of small:1 is signed by {keys / 'ours.pub'}" in done.stderr
    assert "small:1  verified: " in done.stdout


def test_another_key_fails_before_anything_is_built(signed: Project, keys: Path) -> None:
    done = signed.envbuild("verify", "small", "--key", keys / "theirs.pub")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: the provenance of small:1 is not signed by the key {keys / 'theirs.pub'}\n"


def test_no_signature_says_how_to_make_one(registered: Project, keys: Path) -> None:
    done = registered.envbuild("verify", "small", "--key", keys / "ours.pub")
    assert done.returncode == 1
    assert done.stderr == "error: small:1 is not signed; envbuild env sign small:1 --key KEY\n"


def test_a_signature_does_not_cover_another_manifest(signed: Project, keys: Path) -> None:
    """Somebody puts another manifest into the store and into the record; the statement names the one that was."""
    folder = signed.home / "environments/small/1"
    record = json.loads((folder / "environment.json").read_text())
    was = record["image"]["digest"]
    record["image"]["digest"] = f"sha256:{'0' * 64}"
    (folder / "environment.json").unlink()  # a hard link of the tests' home
    (folder / "environment.json").write_text(json.dumps(record))
    done = signed.envbuild("verify", "small", "--key", keys / "ours.pub")
    assert done.returncode == 1
    assert f"what is signed is not about small:1: its image is sha256:{'0' * 64}" in done.stderr and was in done.stderr


def test_a_manifest_that_was_changed_in_the_store_is_found_beside_a_good_signature(signed: Project, keys: Path) -> None:
    record = json.loads((signed.home / "environments/small/1/environment.json").read_text())
    blob = signed.home / "store/blobs/sha256" / record["image"]["digest"].removeprefix("sha256:")
    changed = blob.read_bytes().replace(b"sha256:", b"sha257:", 1)
    blob.unlink()  # a hard link of the tests' home
    blob.write_bytes(changed)
    done = signed.envbuild("verify", "small", "--key", keys / "ours.pub")
    assert (done.returncode, "is signed by" in done.stderr) == (1, True)
    assert "the manifest in the store: " in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("key", "variables"),
    [
        ("secret.key", {"ENVBUILD_KEY_PASSWORD": "open sesame"}),
        ("cosign.key", {"COSIGN_PASSWORD": "open sesame"}),
        ("cosign.key", {"ENVBUILD_KEY_PASSWORD": "open sesame", "COSIGN_PASSWORD": "another"}),
    ],
)
def test_a_key_with_a_pass_phrase(registered: Project, keys: Path, key: str, variables: dict[str, str]) -> None:
    done = registered.envbuild("env", "sign", "small", "--key", keys / key, "--json", env=variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["environment"] == "small:1"
    checked = registered.envbuild("verify", "small", "--key", keys / "ours.pub", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, []), checked.stderr
    assert "open sesame" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("key", "variables", "sentence"),
    [
        ("secret.key", {}, "secret.key has a password; say it in the variable ENVBUILD_KEY_PASSWORD"),
        ("secret.key", {"ENVBUILD_KEY_PASSWORD": "no"}, "the password in ENVBUILD_KEY_PASSWORD does not open"),
        ("cosign.key", {}, "has a password; say it in the variable COSIGN_PASSWORD or ENVBUILD_KEY_PASSWORD"),
        ("cosign.key", {"COSIGN_PASSWORD": "no"}, "the password in COSIGN_PASSWORD does not open"),
        ("missing.key", {}, "missing.key cannot be read: No such file or directory"),
        ("", {}, "cannot be read: Is a directory"),
        ("ours.pub", {}, "is no private key that can be used"),
    ],
)
def test_a_key_that_cannot_be_used_is_a_sentence(
    registered: Project, keys: Path, key: str, variables: dict[str, str], sentence: str
) -> None:
    done = registered.envbuild("env", "sign", "small", "--key", keys / key, env=variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr and done.stderr.count("\n") == 1
    assert not (registered.home / "environments/small/1/provenance.dsse.json").exists()


def test_a_public_key_that_cannot_be_used_is_a_sentence(signed: Project, keys: Path) -> None:
    for key, sentence in (
        ("missing.pub", "cannot be read: No such file"),
        ("ours.key", "is a private key; verify with the public one"),
        ("cosign.key", "is a private key; verify with the public one"),
    ):
        done = signed.envbuild("verify", "small", "--key", keys / key)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    unknown = signed.envbuild("env", "sign", "large", "--key", keys / "ours.key")
    assert (unknown.returncode, "no environment is named 'large'" in unknown.stderr) == (2, True)
