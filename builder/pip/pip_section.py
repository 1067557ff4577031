"""The `pip:` section, solved by uv beside the packages that conda gives.

Each conda package is shown to uv as an empty wheel of the same name and version in a first index, so that pip never
replaces what conda installs. Repositories, folders and source distributions that lines name are built first, and uv
sees their wheels. uv is asked for wheels only; what has none for any version is solved once more inside the sandbox,
where uv may run the code of its source distribution, and then built there without network.
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from envbuild.errors import FetchError, InputError, SolveError
from envbuild.settings import Settings

from .. import atomic
from ..fetching.credentials import Credentials, redacted
from ..inputs.requirement import Requirement, parse_requirement
from ..lock import LockedPackage, without_credentials
from ..sandbox.command import Mount
from ..sandbox.run import run_in_sandbox
from ..spec import EnvironmentSpec
from .solved import read_solved
from .sources import Source, take_folder, take_repository, take_sdist
from .stub_index import pep440, write_stubs
from .uv import Target, ask_again, compile_command, find_uv, uv_environment
from .wheel_tags import best_wheel
from .workshop import Workshop

_FOR_UV = {"--trusted-host": "--allow-insecure-host", "--find-links": "--find-links"}
_IN_FILE = ("--index-url", "--extra-index-url", "--no-index")
_NO_WHEEL = re.compile(r"Wheels are required for `([^`]+)`")
_UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|dns error|Connection refused|could not be queried"
    r"|HTTP status (?:client|server)"
)
_WANTS = re.compile(r"(\S+) depends on ([a-z0-9][a-z0-9._-]*)((?:[<>=!~]=?[^\s,]+,?)+)")
_PASSED_ON = re.compile(r"UV_.*|(HTTPS?|ALL|NO)_PROXY", re.IGNORECASE)
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_MOST_SOURCES = 50


def solve_pip(
    spec: EnvironmentSpec, provided: Mapping[str, str], settings: Settings, workshop: Workshop
) -> list[LockedPackage]:
    """What pip must bring; `provided` is PyPI name -> version of what conda brings.

    Raises:
        SolveError: no versions fit together, or hashes do not; the message carries uv's reason.
        PackageError: something cannot be built from source.
        FetchError: an index or a source cannot be reached.
    """
    if not spec.pip:
        return []
    with atomic.scratch_folder(settings.home / "scratch") as folder:
        return _Section(spec, provided, settings, workshop, folder).solve()


@dataclass
class _Section:
    """One solve, with its files in `folder`."""

    spec: EnvironmentSpec
    provided: Mapping[str, str]
    settings: Settings
    workshop: Workshop
    folder: Path

    def solve(self) -> list[LockedPackage]:
        options = [line for line in self.spec.pip if line.startswith("-")]
        requirements = [parse_requirement(line) for line in self.spec.pip if not line.startswith("-")]
        for requirement in requirements:
            self._refuse_conflict(requirement)
        self.credentials = Credentials(self.settings)
        self.hashes = {each.name: each.hashes for each in requirements if each.hashes}
        self.from_source = {line.split()[1] for line in options if line.startswith("--no-binary")}
        self.built: dict[str, LockedPackage] = {}
        lines = [line for line in options if line.split()[0] in _IN_FILE]
        lines += [self._line(requirement, number) for number, requirement in enumerate(requirements)]
        write_stubs(self.provided, self.folder / "simple")
        (self.folder / "constraints.txt").write_text("\n".join(self.spec.constraints), encoding="utf-8")
        packages = self._ask_until_solved(lines, [*self._arguments(options)])
        found = [self._locked(package) for package in packages if not self._is_stub(package)]
        return sorted(found, key=lambda each: each.name)

    def _refuse_conflict(self, requirement: Requirement) -> None:
        """A line that contradicts what conda brings, said with its place; a chain of them uv finds."""
        from packaging.specifiers import SpecifierSet

        version = self.provided.get(requirement.name)
        if requirement.kind != "index" or version is None or not _holds(requirement.marker, self.workshop.target):
            return
        if not SpecifierSet(requirement.versions).contains(pep440(version), prereleases=True):
            place = self.spec.places.get(("pip", requirement.line), self.spec.source.name)
            raise SolveError(
                f"{place}: pip wants {requirement.text}, and conda brings {requirement.name} {version}; "
                "change one of the two, or leave it out of one"
            )

    def _line(self, requirement: Requirement, number: int) -> str:
        """What uv gets to see: of a source, the wheel that was built from it."""
        if requirement.kind == "index":
            return requirement.text
        if not _holds(requirement.marker, self.workshop.target):
            return ""
        if requirement.location.endswith(".whl"):
            url = requirement.location
            if requirement.kind == "path":
                url = (self.spec.folder / requirement.location).resolve().as_uri()
            name = requirement.name or Path(url).name.split("-")[0]
        else:
            package = self.workshop.build(self._take(requirement, self.folder / f"source{number}"))
            if requirement.name and requirement.name != package.name:
                raise SolveError(f"{requirement.text} holds the package {package.name}, not {requirement.name}")
            self.built[package.name] = package
            url, name = self.workshop.file_of(package).as_uri(), package.name
        extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
        return f"{name}{extras} @ {url}"

    def _take(self, requirement: Requirement, folder: Path) -> Source:
        folder.mkdir()
        if requirement.kind == "git":
            return take_repository(requirement, folder)
        if requirement.kind == "path":
            return take_folder(requirement, self.spec.folder, folder)
        sha256 = next((each.partition(":")[2] for each in requirement.hashes if each.startswith("sha256:")), "")
        return take_sdist(
            requirement.location, sha256, self.settings, folder, requirement.name, requirement.subdirectory
        )

    def _arguments(self, options: Sequence[str]) -> list[str]:
        """What the section's options are for uv's command line."""
        line = ["--constraints", str(self.folder / "constraints.txt")]
        for option in options:
            name, _, value = option.partition(" ")
            if name == "--pre":
                line += ["--prerelease", "allow"]
            elif name in _FOR_UV:
                if name == "--find-links" and "://" not in value:
                    value = (self.spec.folder / value).resolve().as_uri()
                line += [_FOR_UV[name], value]
        return line

    def _ask_until_solved(self, lines: Sequence[str], arguments: Sequence[str]) -> list[dict[str, Any]]:
        """Ask uv; each time that it misses a wheel, let it build that one project."""
        self._open.mkdir()
        output = self._open / "pylock.toml"
        for _ in range(_MOST_SOURCES):
            code, stderr = self._ask(lines, arguments, output)
            if code == 0:
                packages = self._solved(output)
                missing = {str(each["name"]) for each in packages if self._only_source_is_allowed(each)}
                if not missing:
                    return packages
            else:
                missing = set(_NO_WHEEL.findall(stderr)) - self.from_source
                if not missing:
                    raise self._failure(stderr)
            self.from_source |= missing
        raise SolveError(f"{self.spec.source}: more than {_MOST_SOURCES} packages of the pip section have no wheels")

    @property
    def _open(self) -> Path:
        """The one folder of this machine that uv can write in the sandbox, and with it the code of sources."""
        return self.folder / "open"

    def _solved(self, output: Path) -> list[dict[str, Any]]:
        try:
            return read_solved(output)
        except ValueError as error:
            names = ", ".join(sorted(self.from_source)) or "something"
            raise SolveError(
                f"{self.spec.source}: what uv has solved cannot be read ({error}); the code of {names} may have "
                "written it: leave that out, or pin a version that has a wheel"
            ) from None

    def _ask(self, lines: Sequence[str], arguments: Sequence[str], output: Path) -> tuple[int, str]:
        """uv's exit code and what it said; where an index refuses us, after the keyring was asked."""
        code, stderr = self._ask_once(lines, arguments, output)
        if code and ask_again(stderr, self.settings, self.credentials):
            code, stderr = self._ask_once(lines, arguments, output)
        return code, stderr

    def _ask_once(self, lines: Sequence[str], arguments: Sequence[str], output: Path) -> tuple[int, str]:
        stubs = (self.folder / "simple").as_uri()
        more = [*arguments, "--only-binary", ":all:", "--index", f"conda={stubs}"]
        for name in sorted(self.from_source):
            more += ["--no-binary", name]
        text = "\n".join(lines) + "\n"
        if self.from_source:
            code, stderr = self._ask_in_sandbox(text, more, output)
        else:
            line = _with_conda_first(compile_command(find_uv(), self.workshop.target, self.settings, output), more)
            done = subprocess.run(
                line,
                cwd=self.spec.folder,
                input=text,
                env=uv_environment(self.settings, self.credentials),
                capture_output=True,
                text=True,
                check=False,
            )
            code, stderr = done.returncode, done.stderr
        return code, stderr.replace(stubs, "the conda packages")

    def _ask_in_sandbox(self, text: str, more: Sequence[str], output: Path) -> tuple[int, str]:
        """uv runs code of source distributions to learn what they need: in the sandbox, with network, on nothing of
        this machine but the indexes that are folders. That code can write uv's cache, which therefore ends with us."""
        target = self.workshop.target
        names = ", ".join(sorted(self.from_source))
        if not self.workshop.can_build:
            raise InputError(
                f"{self.spec.source}: {names} has no wheel for {target.platform} and would have to be built there; "
                "pin a version that has one, or register on such a machine"
            )
        line = compile_command("/envbuild/uv", target, self.settings, output, "/opt/env/bin/python")
        line = [*_with_conda_first(line, more), "--cache-dir", str(self._open / "uv-cache")]
        mounts = [Mount(Path(find_uv()).resolve(), "/envbuild/uv"), Mount(self.folder, str(self.folder))]
        mounts.append(Mount(self._open, str(self._open), writable=True))
        places = {*self._folders_of(line), self.settings.home / "packages"}
        mounts += [
            Mount(each, str(each)) for each in sorted(places) if each.exists() and each != self.folder / "simple"
        ]
        environment = {
            name: value
            for name, value in uv_environment(self.settings, self.credentials).items()
            if _PASSED_ON.fullmatch(name)
        }
        certificates = Path(os.environ.get("SSL_CERT_FILE") or _CERTIFICATES)
        if certificates.is_file():
            mounts.append(Mount(certificates.resolve(), "/envbuild/certificates.crt"))
            environment["SSL_CERT_FILE"] = "/envbuild/certificates.crt"
        environment |= {"HOME": "/tmp", "PATH": "/opt/env/bin:/usr/bin:/bin", "UV_PYTHON_DOWNLOADS": "never"}
        done = run_in_sandbox(
            self.settings,
            self.workshop.root,
            line,
            mounts=mounts,
            env=environment,
            network=True,
            input=text.encode(),
            scratch=self.settings.home / "scratch",
        )
        return done.returncode, done.stderr.decode(errors="replace")

    def _folders_of(self, line: Sequence[str]) -> list[Path]:
        """The folders of this machine that uv is told to look into."""
        urls = [word.partition("=")[2] if "=file://" in word else word for word in line]
        return [Path(unquote(urlsplit(url).path)) for url in urls if url.startswith("file://")]

    def _only_source_is_allowed(self, package: Mapping[str, Any]) -> bool:
        """Whether the hashes of a line are of no wheel, so that they can only be of the source."""
        name = str(package["name"])
        wheels = {f"sha256:{wheel['hashes']['sha256']}" for wheel in package.get("wheels", [])}
        hashes = self.hashes.get(name)
        return bool(hashes and wheels and not wheels & set(hashes) and name not in self.from_source)

    def _is_stub(self, package: Mapping[str, Any]) -> bool:
        places = [package.get("index", "")]
        places += [wheel.get("url") or wheel.get("path") or "" for wheel in package.get("wheels", [])]
        return any(str(self.folder / "simple") in place or place.startswith("../simple/") for place in places)

    def _locked(self, package: Mapping[str, Any]) -> LockedPackage:
        """The wheel of `package` that fits the target best; one that is built where there is none."""
        name = str(package["name"])
        if name in self.built:
            return self.built[name]
        target, hashes = self.workshop.target, self.hashes.get(name, ())
        wheels: dict[str, tuple[str, str]] = {}
        for wheel in package.get("wheels") or ([package["archive"]] if "archive" in package else []):
            url, sha256 = self._url(package, wheel), str(wheel["hashes"]["sha256"])
            if not hashes or f"sha256:{sha256}" in hashes:
                wheels[unquote(urlsplit(url).path.rpartition("/")[2])] = (url, sha256)
        best = best_wheel(wheels, target.python, target.platform, target.machines)
        if best and name not in self.from_source:
            url, sha256 = wheels[best]
            return LockedPackage("pip", name, str(package.get("version") or best.split("-")[1]), url, sha256)
        sdist = package.get("sdist")
        if sdist and (not hashes or f"sha256:{sdist['hashes']['sha256']}" in hashes):
            folder = self.folder / f"sdist-{name}"
            folder.mkdir()
            url, sha256 = self._url(package, sdist), str(sdist["hashes"]["sha256"])
            return self.workshop.build(take_sdist(url, sha256, self.settings, folder, name))
        if hashes:
            raise SolveError(
                f"{self.spec.source}: no file of {name} {package.get('version', '')} has a --hash of its line"
            )
        raise SolveError(
            f"{self.spec.source}: {name} has neither a wheel for {target.platform} nor a source distribution"
        )

    def _url(self, package: Mapping[str, Any], file: Mapping[str, Any]) -> str:
        """Where a file is; paths count from the lock that uv has written (PEP 751)."""
        if "url" in file:
            return without_credentials(urljoin(str(package.get("index", "")), str(file["url"])))
        return Path(self._open, str(file["path"])).resolve().as_uri()

    def _failure(self, stderr: str) -> SolveError | FetchError:
        reason = redacted("\n  ".join(line.rstrip() for line in stderr.splitlines() if line.strip()))
        if _UNREACHABLE.search(stderr):
            return FetchError(
                f"{self.spec.source}: an index of the pip section cannot be read; check [pip] index, and "
                f"docs/private-channels.md where it wants credentials:\n  {reason}"
            )
        said = "".join(f"\n  {each}" for each in self._conflicts(reason))
        return SolveError(
            f"{self.spec.source}: the pip section cannot be satisfied beside the conda packages:{said}\n  {reason}"
        )

    def _conflicts(self, reason: str) -> list[str]:
        """Of uv's reason, what pip packages want of conda's and do not get, a sentence each."""
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        found = []
        for who, name, versions in _WANTS.findall(" ".join(reason.split())):
            version = self.provided.get(name)
            try:
                if version and not SpecifierSet(versions.rstrip(",")).contains(pep440(version), prereleases=True):
                    wanted = f"{name}{versions.rstrip(',')}"
                    found.append(
                        f"{who} of pip wants {wanted}, and conda brings {name} {version}; ask conda for {wanted}"
                    )
            except InvalidSpecifier:
                continue
        return list(dict.fromkeys(found))


def _with_conda_first(line: Sequence[str], more: Sequence[str]) -> list[str]:
    """uv takes a package from the first index that has it: ours stands before all others."""
    at = line.index("compile") + 1
    return [*line[:at], *more, *line[at:]]


def _holds(marker: str, target: Target) -> bool:
    """Whether a marker (PEP 508) holds on the target."""
    from packaging.markers import Marker

    if not marker:
        return True
    short = ".".join(target.python.split(".")[:2])
    machine = "aarch64" if target.platform.endswith("aarch64") else "x86_64"
    environment = {
        "python_version": short,
        "python_full_version": target.python,
        "implementation_version": target.python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": "",
    }
    return bool(Marker(marker).evaluate(environment))
