"""A registry with a certificate of its own making, as companies have them: trusted when named, else one sentence."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Project, need

from registry import docker_registry


def make_certificate(folder: Path, name: str, days: int = 2) -> tuple[Path, Path]:
    """A self-signed certificate for `name` (`IP:...` or `DNS:...`) and its key."""
    folder.mkdir()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    line = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", str(days)]
    subprocess.run(
        [need("openssl"), *line, "-subj", "/CN=registry", "-addext", f"subjectAltName={name}"],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path / "tls", "IP:127.0.0.1")[0]


@pytest.fixture
def secured(tmp_path: Path, certificate: Path) -> Iterator[str]:
    """A registry that answers by TLS alone."""
    tls = f"{{certificate: {certificate}, key: {certificate.with_name('key.pem')}}}"
    with docker_registry(tmp_path / "secured", tls=tls) as address:
        yield address


def refused(project: Project, *line: str, code: int = 1, env: dict[str, str] | None = None) -> str:
    done = project.envbuild(*line, env=env)
    assert done.returncode == code and "Traceback" not in done.stderr, (done.returncode, done.stderr)
    return done.stderr


def test_a_company_s_certificate_is_trusted_where_it_is_named(
    sender: Project, secured: str, certificate: Path, tmp_path: Path
) -> None:
    place = f"{secured}/team/small"
    done = sender.json("push", "small", place, env={"REQUESTS_CA_BUNDLE": str(certificate)})
    assert done["tags"] == ["1"]
    other = Project(sender.folder, tmp_path / "other-home")
    env = {"REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": str(certificate)}  # the first one wins, where it is set
    assert other.json("pull", f"{place}:1", env=env)["status"] == "pulled"


def test_a_certificate_that_nobody_named_is_one_sentence_at_once(sender: Project, secured: str) -> None:
    for more in ([], ["--insecure"]):  # which is for plain http: a certificate that is there must convince
        said = refused(sender, "push", "small", f"{secured}/team/small", *more)
        assert said.strip() == (
            f"error: {secured} cannot be trusted: its certificate is not known here (self-signed certificate); if you "
            "know it to be right, name a file with it, or with that of its authority, in REQUESTS_CA_BUNDLE or "
            "SSL_CERT_FILE"
        )
    assert "cannot be trusted" in refused(sender, "pull", f"{secured}/team/small:1")


def test_a_certificate_for_another_name_is_told_apart(sender: Project, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path / "other", "DNS:registry.example.org")
    with docker_registry(tmp_path / "registry", tls=f"{{certificate: {certificate}, key: {key}}}") as address:
        env = {"REQUESTS_CA_BUNDLE": str(certificate)}
        said = refused(sender, "push", "small", f"{address}/team/small", env=env)
    assert f"{address} cannot be trusted: IP address mismatch, certificate is not valid for '127.0.0.1'; ask" in said


def test_certificates_that_are_not_there_are_named(sender: Project, secured: str, tmp_path: Path) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        said = refused(sender, "push", "small", f"{secured}/x", code=2, env={name: str(tmp_path / "nothing.pem")})
        assert f"{name} names the certificates {tmp_path / 'nothing.pem'}, which do not exist" in said
