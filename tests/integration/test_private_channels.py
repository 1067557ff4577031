"""Private channels and indexes: credentials open them, and are found nowhere afterwards."""

import base64
import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import Project

SECRET = "S3cretT0ken4711"


@dataclass
class Server:
    """A web server on loopback that hands out a folder to who says `expected`."""

    port: int
    expected: str
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def serve() -> Iterator[Callable[[Path, str], Server]]:
    running: list[http.server.ThreadingHTTPServer] = []

    def start(folder: Path, expected: str) -> Server:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                found.asked.append(self.path)
                if self.headers.get("Authorization", "") != found.expected:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="private"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                super().do_GET()

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        found = Server(server.server_address[1], expected)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return found

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A simple index (PEP 503) of one project, with one wheel."""
    folder = tmp_path / "index" / "simple" / "hidden"
    source = tmp_path / "hidden"
    source.mkdir()
    (source / "pyproject.toml").write_text('[project]\nname = "hidden"\nversion = "1.0"\n')
    (source / "hidden.py").write_text("")
    folder.mkdir(parents=True)
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(line, check=True)
    (wheel,) = folder.glob("*.whl")
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel.name}">{wheel.name}</a>')
    return tmp_path / "index"


def configure(project: Project, channel: str, index: str = "") -> None:
    pip = f'[pip]\nextra-indexes = ["{index}/simple"]\n' if index else ""
    machines = '[virtual-packages]\nlinux-64 = { __glibc = "2.36" }\n'
    project.write("envbuild.toml", f'[channels]\nmine = "{channel}"\n{pip}{machines}')
    more = ", pip, pip: [hidden]" if index else ""
    project.write("environment.yml", f"name: small\nchannels: [mine]\ndependencies: [python=3.11, jinja2{more}]\n")


def assert_nowhere(project: Project, *texts: str) -> None:
    """The secret, plain or encoded, is in no file of the project or home, and in none of `texts`."""
    encoded = base64.b64encode(f"me:{SECRET}".encode()).decode()
    for needle in (SECRET, encoded, base64.b64encode(f"__token__:{SECRET}".encode()).decode()):
        assert all(needle not in text for text in texts)
        done = subprocess.run(
            ["grep", "-rlF", "--exclude-dir=secrets", needle, project.home, project.folder],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "", done.stdout


def test_variables_open_a_channel_and_an_index_and_stay_out_of_everything(
    project: Project, channel: Path, index: Path, serve: Callable[[Path, str], Server]
) -> None:
    packages, wheels = serve(channel, f"Bearer {SECRET}"), serve(index, basic("me", SECRET))
    configure(project, packages.url, wheels.url)
    who = {"ENVBUILD_CHANNEL_MINE_TOKEN": SECRET, "ENVBUILD_PIP_USER": "me", "ENVBUILD_PIP_PASSWORD": SECRET}
    done = project.envbuild("register", "environment.yml", env=who)
    assert done.returncode == 0, done.stderr
    assert any(path.startswith("/linux-64/python-") for path in packages.asked)
    assert any(path.endswith(".whl") for path in wheels.asked)
    exported = project.envbuild("export", "small", "oci:image")
    assert exported.returncode == 0, exported.stderr
    lock = (project.home / "environments/small/1/conda-lock.yml").read_text()
    assert f"{wheels.url}/simple/hidden/hidden-1.0-py3-none-any.whl" in lock
    assert_nowhere(project, done.stdout, done.stderr, exported.stdout, exported.stderr)


@pytest.mark.parametrize("way", ["url", "netrc", "rattler"])
def test_other_ways_to_say_who_we_are(
    project: Project, channel: Path, serve: Callable[[Path, str], Server], way: str
) -> None:
    server = serve(channel, basic("me", SECRET))
    configure(project, server.url)
    secrets = project.folder / "secrets"
    secrets.mkdir()
    env = {}
    if way == "url":
        toml = (project.folder / "envbuild.toml").read_text()
        (project.folder / "envbuild.toml").unlink()
        (project.folder.parent / "envbuild.toml").write_text(toml.replace("http://", f"http://me:{SECRET}@"))
    elif way == "netrc":
        (secrets / "netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
        (secrets / "netrc").chmod(0o600)
        env["NETRC"] = str(secrets / "netrc")
    else:
        entry = {"127.0.0.1": {"BasicHTTP": {"username": "me", "password": SECRET}}}
        (secrets / "auth.json").write_text(json.dumps(entry))
        env["RATTLER_AUTH_FILE"] = str(secrets / "auth.json")
    done = project.envbuild("register", "environment.yml", env=env)
    assert done.returncode == 0, done.stderr
    assert_nowhere(project, done.stdout, done.stderr)


def test_a_refusal_is_a_sentence_without_the_secret(
    project: Project, channel: Path, index: Path, serve: Callable[[Path, str], Server]
) -> None:
    server = serve(channel, f"Bearer {SECRET}")
    configure(project, server.url)
    done = project.envbuild("register", "environment.yml", env={"ENVBUILD_CHANNEL_MINE_TOKEN": f"{SECRET}wrong"})
    assert done.returncode == 1
    assert "wants credentials, or refuses those it got" in done.stderr
    assert_nowhere(project, done.stdout, done.stderr)
    half = project.envbuild("register", "environment.yml", env={"ENVBUILD_CHANNEL_MINE_USER": "me"})
    assert "ENVBUILD_CHANNEL_MINE_USER and ENVBUILD_CHANNEL_MINE_PASSWORD belong together" in half.stderr
    wheels = serve(index, basic("me", SECRET))
    configure(project, channel.as_uri(), wheels.url)
    done = project.envbuild("register", "environment.yml", env={"ENVBUILD_PIP_TOKEN": f"{SECRET}wrong"})
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "an index of the pip section cannot be read" in done.stderr
    assert_nowhere(project, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "line",
    [
        f"channels: ['https://me:{SECRET}@host.test/channel']\ndependencies: [python]",
        f"channels: ['https://host.test/t/{SECRET}/channel']\ndependencies: [python]",
        f"dependencies: [python, pip, pip: ['--extra-index-url https://{SECRET}@host.test/simple', six]]",
        f"dependencies: [python, pip, pip: ['git+https://me:{SECRET}@host.test/a.git']]",
    ],
)
def test_credentials_in_an_environment_file_are_refused_and_not_repeated(project: Project, line: str) -> None:
    (project.folder / "secrets").mkdir()
    (project.folder / "secrets/environment.yml").write_text(f"name: small\n{line}\n")
    done = project.envbuild("register", "secrets/environment.yml")
    assert done.returncode == 2
    assert "credentials do not belong into this file" in done.stderr
    assert_nowhere(project, done.stdout, done.stderr)


def test_a_token_in_a_channel_s_path_is_used_and_not_kept(
    project: Project, channel: Path, tmp_path: Path, serve: Callable[[Path, str], Server]
) -> None:
    (tmp_path / f"site/t/{SECRET}").mkdir(parents=True)
    (tmp_path / f"site/t/{SECRET}/mine").symlink_to(channel)
    server = serve(tmp_path / "site", "")
    configure(project, "http://unused.test")
    toml = (project.folder / "envbuild.toml").read_text()
    (project.folder / "envbuild.toml").unlink()
    url = f"{server.url}/t/{SECRET}/mine"
    (project.folder.parent / "envbuild.toml").write_text(toml.replace("http://unused.test", url))
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 0, done.stderr
    assert f"url: {server.url}/mine/noarch/jinja2" in (project.home / "environments/small/1/conda-lock.yml").read_text()
    assert_nowhere(project, done.stdout, done.stderr)


LISTING = """
import json, os, keyring.backend, keyring.credentials
class Keyring(keyring.backend.KeyringBackend):
    \"\"\"One that finds a credential without being told whose, as those of desktops do.\"\"\"
    priority = 1
    def set_password(self, service, username, password):
        raise NotImplementedError
    def get_password(self, service, username):
        found = self.get_credential(service, username)
        return found.password if found and found.username == username else None
    def get_credential(self, service, username):
        if os.environ.get("KEYRING_LOCKED"):
            raise RuntimeError("the keyring is locked: " + os.environ["KEYRING_LOCKED"])
        with open(os.path.join(os.path.dirname(__file__), "kept.json")) as file:
            known = json.load(file).get(service)
        return keyring.credentials.SimpleCredential(*known) if known else None
"""


class Keyring:
    """A keyring of the project's own, in a folder that the search for the secret leaves out."""

    def __init__(self, project: Project, kind: str) -> None:
        self._secrets, self._kind = project.folder / "secrets", kind
        self._secrets.mkdir()
        (self._secrets / "listing.py").write_text(LISTING)
        (self._secrets / "kept.json").write_text("{}")
        file = "keyrings.alt.file.PlaintextKeyring"
        self.env = {
            "PYTHON_KEYRING_BACKEND": file if kind == "file" else "listing.Keyring",
            "PYTHONPATH": str(self._secrets),
            "XDG_DATA_HOME": str(self._secrets),
            "HOME": str(self._secrets),
        }

    def keep(self, service: str, user: str, password: str) -> None:
        if self._kind == "listing":
            (self._secrets / "kept.json").write_text(json.dumps({service: [user, password]}))
            return
        line = [sys.executable, "-m", "keyring", "set", service, user]
        subprocess.run(line, env={**os.environ, **self.env}, input=password, text=True, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("kind", "service", "user", "in_url"),
    [
        ("file", "{url}", "me", "me@"),
        ("file", "{host}", "me", "me@"),
        ("file", "{root}", "__token__", ""),
        ("listing", "{root}", "me", ""),
        ("listing", "{url}", "me", ""),
    ],
)
def test_a_keyring_opens_a_channel_and_an_index(
    project: Project, channel: Path, index: Path, serve: Callable[[Path, str], Server],
    kind: str, service: str, user: str, in_url: str,
) -> None:  # fmt: skip
    both = index.parent / "both"
    both.mkdir()
    (both / "channel").symlink_to(channel)
    (both / "simple").symlink_to(index / "simple")
    server = serve(both, basic(user, SECRET))
    keyring = Keyring(project, kind)
    configure(
        project, f"{server.url}/channel".replace("://", f"://{in_url}"), server.url.replace("://", f"://{in_url}")
    )
    places = {"url": f"{server.url}/channel", "root": server.url, "host": "127.0.0.1"}
    keyring.keep(service.format(**places), user, SECRET)
    if service == "{url}":
        configure(project, f"{server.url}/channel".replace("://", f"://{in_url}"))
    done = project.envbuild("register", "environment.yml", env=keyring.env)
    assert done.returncode == 0, done.stderr
    assert any(path.startswith("/channel/linux-64/python-") for path in server.asked)
    assert any(path.endswith(".whl") for path in server.asked) == (service != "{url}")
    project.write("src/job.py", "import os, jinja2\nprint(sorted(os.environ.items()))\n")
    ran = project.envbuild("run", "src", "job.py", "--env", "small", env=keyring.env)
    assert ran.returncode == 0 and "CONDA_PREFIX" in ran.stdout, ran.stderr
    exported = project.envbuild("export", "small", "oci:image", env=keyring.env)
    sbom = project.envbuild("env", "sbom", "small", env=keyring.env)
    assert (exported.returncode, sbom.returncode) == (0, 0)
    assert_nowhere(project, *(each.stdout + each.stderr for each in (done, ran, exported, sbom)))
    assert "me@" not in (project.home / "environments/small/1/conda-lock.yml").read_text()


def test_rattler_s_entry_in_a_keyring_is_a_token(
    project: Project, channel: Path, serve: Callable[[Path, str], Server]
) -> None:
    server, keyring = serve(channel, f"Bearer {SECRET}"), Keyring(project, "file")
    configure(project, server.url)
    keyring.keep("rattler", "127.0.0.1", json.dumps({"BearerToken": SECRET}))
    done = project.envbuild("register", "environment.yml", env=keyring.env)
    assert done.returncode == 0, done.stderr
    assert_nowhere(project, done.stdout, done.stderr)


@pytest.mark.parametrize("what", ["wrong", "locked", "absent"])
def test_a_keyring_that_does_not_help_is_the_same_sentence(
    project: Project, channel: Path, index: Path, serve: Callable[[Path, str], Server], what: str
) -> None:
    packages, wheels = serve(channel, basic("me", SECRET)), serve(index, basic("me", SECRET))
    keyring = Keyring(project, "listing")
    keyring.keep(packages.url, "me", f"{SECRET}wrong")
    env = {**keyring.env, "KEYRING_LOCKED": SECRET if what == "locked" else ""}
    if what == "absent":
        env["PYTHON_KEYRING_BACKEND"] = "no.such.Backend"
    configure(project, packages.url)
    done = project.envbuild("register", "environment.yml", env=env)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "wants credentials, or refuses those it got" in done.stderr
    configure(project, channel.as_uri(), wheels.url)
    pip = project.envbuild("register", "environment.yml", env=env)
    assert (pip.returncode, "Traceback" in pip.stderr) == (1, False), pip.stderr
    assert "an index of the pip section cannot be read" in pip.stderr
    assert_nowhere(project, *(each.stdout + each.stderr for each in (done, pip)))
