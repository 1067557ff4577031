"""How uv is asked: with our indexes alone, and who we are for them outside of its command line."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envbuild.settings import Settings

from ..fetching.credentials import Credentials
from ..lock import without_credentials
from .wheel_tags import uv_platform

_OUTSIDE = re.compile(
    r"UV_(CACHE_DIR|NO_CACHE|OFFLINE|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|KEYRING_PROVIDER|CREDENTIALS_DIR"
    r"|HTTP_\w+|REQUEST_TIMEOUT|CONCURRENT_\w+|(HTTPS?|ALL|NO)_PROXY|(S3|GCS|AZURE)_\w+|INDEX_\w+_(USERNAME|PASSWORD))"
)
"""uv's variables that say how a network is reached, by whom and how fast, and nothing about what is chosen there."""
_STEERING = re.compile(
    r"UV_(PRERELEASE|RESOLUTION|FORK_STRATEGY|INDEX_STRATEGY|EXCLUDE(_NEWER\w*)?|CONSTRAINT|BUILD_CONSTRAINT|OVERRIDE"
    r"|(NO_)?(BINARY|BUILD|SOURCES)(_\w+)?|TORCH_BACKEND|REQUIRE_HASHES|NO_VERIFY_HASHES)"
)
"""Those that would choose other packages; a lock depends on the file and on our own settings."""
_REFUSED = re.compile(r"\b40[13]\b")
_MAIN = "main"
"""The name of the default index."""


@dataclass(frozen=True)
class Target:
    """What the packages are for."""

    python: str
    """A full version."""
    platform: str
    machines: Mapping[str, str]
    """Virtual packages."""


def compile_command(
    uv: str, target: Target, settings: Settings, output: Path, python: str = sys.executable
) -> list[str]:
    """`uv pip compile` from standard input into `output` (a pylock.toml, PEP 751), up to what the caller adds.

    The Python that uv asks about itself is ours, and not one that happens to lie where we are called.
    """
    line = [uv, "pip", "compile", "--quiet", "--no-config", "--no-progress", "--no-annotate", "--no-header"]
    line += ["--python", python, "--python-version", target.python, "--generate-hashes", "--format", "pylock.toml"]
    line += ["--python-platform", uv_platform(target.platform, target.machines), "--output-file", str(output)]
    for name, url in _indexes(settings):
        line += ["--default-index" if name == _MAIN else "--index", f"{name}={without_credentials(url)}"]
    for links in settings.pip.find_links:
        line += ["--find-links", without_credentials(links)]
    return [*line, "-"]


def uv_environment(settings: Settings, credentials: Credentials) -> dict[str, str]:
    """The environment of uv: ours but for what would choose other packages, the system's certificates, and who we are
    for the indexes."""
    # the system's certificates, which hold a company's own (under its newer and its older name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    environment |= {name: value for name, value in os.environ.items() if _OUTSIDE.fullmatch(name)}
    environment |= {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    for name, url in _indexes(settings):
        known = credentials.find(url)
        if known:
            user, password = known.pair
            environment[f"UV_INDEX_{name.upper()}_USERNAME"] = user
            environment[f"UV_INDEX_{name.upper()}_PASSWORD"] = password
    return environment


def notes(settings: Settings) -> list[str]:
    """What is to be said of uv's variables here: those that are settings now, and those that do not count."""
    taken = {name: origin for name, origin in settings.origins.items() if origin.startswith("UV_")}
    said = [f"{name} of the settings is not given; taken from {origin}" for name, origin in sorted(taken.items())]
    passed_over = sorted(name for name, value in os.environ.items() if value and _STEERING.fullmatch(name))
    if passed_over:
        said.append(
            f"{', '.join(passed_over)} of this shell does not count: a lock depends on the file and envbuild.toml alone"
        )
    return said


def ask_again(stderr: str, settings: Settings, credentials: Credentials) -> bool:
    """Whether uv is to be asked again: an index has refused us, and the keyring knows more."""
    if not _REFUSED.search(stderr):
        return False
    return credentials.ask_keyring(*(url for _, url in _indexes(settings)))


def find_uv() -> str:
    """The program, as it comes with its wheel."""
    from uv import find_uv_bin

    return find_uv_bin()


def _indexes(settings: Settings) -> list[tuple[str, str]]:
    """Name -> URL: uv takes credentials by the name of an index. The extra ones come first."""
    extra = [(f"extra{number}", url) for number, url in enumerate(settings.pip.extra_indexes, 1)]
    return [*extra, *([(_MAIN, settings.pip.index)] if settings.pip.index else [])]
