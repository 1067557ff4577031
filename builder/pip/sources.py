"""Where something is built from: a source distribution, a repository at a commit, or a folder beside the file.

Requirement or URL -> a folder with the source, its digest, and the URL under which the lock knows it
"""

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from envbuild.errors import FetchError, PackageError
from envbuild.settings import Settings

from ..fetching.credentials import Credentials, redacted
from ..fetching.download import Download, bring
from ..git import run_git
from ..inputs.git_version import describe, version_tool
from ..inputs.local_source import content_digest, source_files
from ..inputs.requirement import Requirement
from ..lock import GitDescription, without_credentials
from ..packing.package import checked_path
from ..packing.unpacked_size import most_unpacked, refuse_large_zip, too_large

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, ValueError),  # of zipfile: a password is wanted, a method of compression is unknown
)
_TIME = 315532800
"""1980-01-01: no time of this machine reaches a build."""


@dataclass(frozen=True)
class Source:
    """A source that is here."""

    url: str
    """Of a source distribution; `git+URL@COMMIT`; or a path beginning with `.`, from the environment file on."""
    sha256: str
    """Hex: of the file, or of what the folder holds (`content_digest`)."""
    folder: Path
    """Its content, normalised."""
    name: str = ""
    subdirectory: str = ""
    described: GitDescription | None = None
    """What its version is made of, where that is git."""

    @property
    def shown(self) -> str:
        return self.name or self.url


def take_sdist(
    url: str, sha256: str, settings: Settings, folder: Path, name: str = "", subdirectory: str = ""
) -> Source:
    """Bring and unpack a source distribution; without `sha256` its digest is what arrives.

    Raises:
        FetchError: it cannot be had, or is not what was expected.
        PackageError: it is damaged, or holds a path that is refused.
    """
    name_of_file = urlsplit(url).path.rpartition("/")[2]
    file = folder / "download" / (name_of_file if name_of_file.strip(".") else "archive")
    sha256 = bring(Download(url, "sha256", sha256), file, Credentials(settings), lambda _: None)
    root = _unpack(file, folder / "source")
    return _finished(Source(without_credentials(url), sha256, root, name, subdirectory))


def take_repository(requirement: Requirement, folder: Path) -> Source:
    """Clone a repository and check out what `requirement` names; the lock knows it by its commit.

    Raises:
        FetchError: it cannot be cloned, or has no such branch, tag or commit.
    """
    url, reference = _split_reference(requirement.location.removeprefix("git+"))
    clone = folder / "clone"
    _git("clone", "--quiet", "--no-checkout", url, str(clone), shown=url)
    wanted = reference or "HEAD"
    for candidate in (f"origin/{wanted}", wanted):
        done = run_git("-C", str(clone), "rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
        if done.returncode == 0:
            break
    else:
        raise FetchError(f"{without_credentials(url)} has no branch, tag or commit {wanted!r}; check the name after @")
    commit = done.stdout.strip()
    _git("-C", str(clone), "checkout", "--quiet", "--detach", commit, shown=url)
    _git("-C", str(clone), "submodule", "--quiet", "update", "--init", "--recursive", shown=url)
    known_as = f"git+{without_credentials(url)}@{commit}"
    project = _project(clone, requirement.subdirectory, known_as)
    digest, described = content_digest(project), _described(project)
    if described:  # a checkout is the commit, whatever settings of this machine do to line ends
        described = replace(described, changed=False)
    shutil.rmtree(clone / ".git")
    return _finished(Source(known_as, digest, clone, requirement.name, requirement.subdirectory, described))


def take_folder(requirement: Requirement, beside: Path, folder: Path) -> Source:
    """Copy the folder (or source distribution) that a path names, counted from `beside`."""
    origin = beside / requirement.location
    if origin.is_file():
        root = _unpack(origin, folder / "source")
        return _finished(Source(requirement.location, content_digest(origin), root, requirement.name))
    digest = content_digest(origin)
    copy = folder / "source"
    for file in source_files(origin):
        target = copy / file.relative_to(origin)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return _finished(Source(requirement.location, digest, copy, requirement.name, described=_described(origin)))


def _described(folder: Path) -> GitDescription | None:
    tool = version_tool(folder)
    return describe(folder, tool) if tool else None


def _split_reference(url: str) -> tuple[str, str]:
    """`URL@REF` in its two parts; the `@` of a user stands before the path."""
    place, slash, path = url.partition("://")[2].partition("/")
    path, at, reference = path.rpartition("@") if "@" in path else (path, "", "")
    return (f"{url.partition('://')[0]}://{place}{slash}{path}", reference) if at else (url, "")


def _git(*words: str, shown: str) -> None:
    done = run_git(*words)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["git says nothing"])[-1]
        raise FetchError(f"{without_credentials(shown)} cannot be cloned: {redacted(last)}")


def _unpack(file: Path, target: Path) -> Path:
    """Unpack a source distribution into the new folder `target`; return the folder that holds its content."""
    target.mkdir()
    _unpack_all(file, target)
    entries = list(target.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else target


def _unpack_all(file: Path, target: Path) -> None:
    try:
        if file.name.endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                refuse_large_zip(archive, file)
                for info in archive.infolist():
                    if not info.is_dir():
                        _write(target, info.filename, archive.read(info), executable=bool(info.external_attr >> 22 & 1))
            return
        left = most_unpacked(file)
        with tarfile.open(file) as tar:
            for member in tar:
                left -= member.size
                if left < 0:
                    raise too_large(file)
                if member.isreg():
                    content = tar.extractfile(member)
                    assert content is not None
                    _write(target, member.name, content.read(), executable=bool(member.mode & 0o100))
                elif not member.isdir() and not member.issym():
                    raise PackageError(f"{file.name} holds {member.name}, a device or hard link; refused")
    except _DAMAGED as error:
        raise PackageError(f"{file.name} cannot be read as a source distribution ({error})") from error


def _write(target: Path, name: str, content: bytes, *, executable: bool) -> None:
    path = target / checked_path(name.removeprefix("./"), "the source distribution")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)


def _project(folder: Path, subdirectory: str, shown: str) -> Path:
    """Where in a source the project lies: nothing is read from, or written to, where a link or `..` leads out of it."""
    project = folder / subdirectory
    if not project.resolve().is_relative_to(folder.resolve()):
        raise PackageError(f"{shown} has the folder {subdirectory}, which leads out of it; refused")
    if not project.is_dir():
        raise PackageError(f"{shown} has no folder {subdirectory}")
    return project


def _finished(source: Source) -> Source:
    """Modes and times that do not depend on this machine."""
    _project(source.folder, source.subdirectory, source.url)
    for folder, _, names in os.walk(source.folder, topdown=False):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink():
                continue
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            os.utime(path, (_TIME, _TIME))
        Path(folder).chmod(0o755)
        os.utime(folder, (_TIME, _TIME))
    return source
