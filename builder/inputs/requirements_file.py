"""`requirements.txt`, or the pip section of an environment file, in; canonical lines out.

Files brought in with `-r` and `-c` are read here and become part of the request, so that their comments and order
mean as little as those of the file itself. Paths count from the folder of the file that is registered, as with
conda; included files are looked for beside the file that names them, as with pip.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from envbuild.errors import SpecError

from ..spec import DEFAULT_CHANNEL, EnvironmentSpec
from .requirement import Requirement, parse_requirement
from .text_file import Line, name_of_folder, read_text, refuse_credentials

_LONG = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
_WITH_VALUE = (
    *("--index-url", "--extra-index-url", "--find-links", "--requirement", "--constraint", "--editable"),
    *("--trusted-host", "--only-binary", "--no-binary"),
)
_URLS = ("--index-url", "--extra-index-url", "--find-links")
_WITHOUT_VALUE = ("--no-index", "--pre", "--require-hashes")
_MEANINGLESS = (
    "--prefer-binary",
    "--use-pep517",
    "--use-feature",
    "--no-cache-dir",
    "--upgrade",
    "--no-build-isolation",
)
_DEBIAN_S_OWN = "pkg-resources==0.0.0"
_FOLDER = re.compile(r"[\w.-]+(\[[\w,. -]*\])?")
_OPTION = re.compile(r"(--[a-z][a-z0-9-]*|-[a-zA-Z])[ =]?\s*(.*)", re.DOTALL)


@dataclass
class PipSection:
    """What the pip lines of a file and of those that it includes ask for."""

    options: list[str] = field(default_factory=list)
    requirements: dict[str, Requirement] = field(default_factory=dict)
    """By their canonical lines."""
    constraints: dict[str, Requirement] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[str, ...]:
        """Options first, in their order, then requirements, sorted."""
        return (*dict.fromkeys(self.options), *sorted(self.requirements))


def read_requirements(path: Path) -> EnvironmentSpec:
    """Read a pip requirements file: everything is pip's, and Python comes from conda.

    Raises:
        SpecError: the file cannot be understood; the message says where and what was expected.
    """
    section = read_section(_logical_lines(path))
    if not section.requirements:
        raise SpecError(f"{path} names no packages; expected one requirement a line, for instance requests>=2.31")
    name, note = name_of_folder(path)
    return with_section(EnvironmentSpec(name, (DEFAULT_CHANNEL,), (), (), (), path, (note,)), section)


def with_section(spec: EnvironmentSpec, section: PipSection) -> EnvironmentSpec:
    """`spec` with what `section` asks for."""
    return replace(
        spec,
        pip=section.lines,
        constraints=tuple(sorted(section.constraints)),
        notes=(*spec.notes, *section.notes),
        places={**spec.places, **section.places},
    )


def read_section(lines: Iterable[Line]) -> PipSection:
    """Read pip lines, and every file that they bring in.

    Raises:
        SpecError: a line cannot be understood, or an included file cannot be read.
    """
    section = PipSection()
    _read(lines, section, constraining=False, above=())
    if "--require-hashes" in section.options:
        _require_hashes(section)
    return section


def _read(lines: Iterable[Line], section: PipSection, *, constraining: bool, above: tuple[Path, ...]) -> None:
    for line in lines:
        text = re.sub(r"(^|\s)#.*$", "", line.text).strip()
        if not text:
            continue
        if "\0" in text:
            raise line.error("a NUL character stands here, which no name and no path can have")
        refuse_credentials(line)
        if text.startswith("-"):
            _read_option(text, line, section, constraining, above)
        else:
            _add(text, line, section, constraining)


def _read_option(text: str, line: Line, section: PipSection, constraining: bool, above: tuple[Path, ...]) -> None:
    match = _OPTION.fullmatch(text)
    if match is None:
        raise line.error(f"{text!r} is no option that pip knows")
    name, value = _LONG.get(match[1], match[1]), match[2].strip()
    if name in _WITH_VALUE and not value:
        raise line.error(f"{match[1]} needs a value")
    if name in ("--requirement", "--constraint"):
        _include(value, line, section, constraining or name == "--constraint", above)
    elif name == "--editable":
        section.notes.append(f"{line.place}: -e {value} is installed as a plain copy; later edits need a new version")
        # what pip can edit is a folder or a repository, never a name of an index
        _add(f"./{value}" if _FOLDER.fullmatch(value) else value, line, section, constraining)
    elif name in _MEANINGLESS:
        section.notes.append(f"{line.place}: {name} means nothing here")
    elif name in _WITH_VALUE or name in _WITHOUT_VALUE:
        if name in _URLS and len(value.split()) > 1:  # pip would drop the rest in silence
            raise line.error(f"{match[1]} takes one value; write {value.split()[1]} on a line of its own")
        option = f"{name} {value}" if name in _WITH_VALUE else name
        section.options.append(option)
        section.places[("pip", option)] = line.place
    else:
        raise line.error(
            f"the option {name} is not supported; supported: -r -c -e {' '.join(_WITH_VALUE[:3])} and more"
        )


def _include(name: str, line: Line, section: PipSection, constraining: bool, above: tuple[Path, ...]) -> None:
    if "://" in name:
        raise line.error(f"{name} may say something else tomorrow; download it, and name the file")
    path = line.file.parent / name
    if path.resolve() in (*above, line.file.resolve()):
        raise line.error(f"{name} includes itself")
    if not path.is_file():
        raise line.error(f"{name} does not exist beside {line.file.name}")
    _read(_logical_lines(path), section, constraining=constraining, above=(*above, line.file.resolve()))


def _add(text: str, line: Line, section: PipSection, constraining: bool) -> None:
    try:
        found = parse_requirement(text)
    except ValueError as error:
        raise line.error(str(error)) from None
    if found.line == _DEBIAN_S_OWN:
        section.notes.append(
            f"{line.place}: {found.line} is left out: Debian's pip freeze lists it, and no index has it"
        )
        return
    if constraining and (found.extras or found.kind != "index"):
        raise line.error(f"{text} cannot constrain: a constraint is a name with versions, without extras")
    ingredient = "constraints" if constraining else "pip"
    (section.constraints if constraining else section.requirements)[found.line] = found
    section.places.setdefault((ingredient, found.line), line.place)


def _require_hashes(section: PipSection) -> None:
    for line, requirement in sorted(section.requirements.items()):
        pinned = requirement.versions.startswith("==") and "," not in requirement.versions
        if not requirement.hashes or (requirement.kind == "index" and not pinned):
            place = section.places[("pip", line)]
            raise SpecError(f"{place}: --require-hashes is in force; {requirement.text} needs == and a --hash")


def _logical_lines(path: Path) -> Iterator[Line]:
    """Lines, continued ones joined (pip's documentation, "Requirements file format")."""
    number, parts = 0, []
    for number, text in enumerate(read_text(path).splitlines(), 1):
        parts.append(text)
        if text.endswith("\\") and not text.lstrip().startswith("#"):
            parts[-1] = text[:-1] + " "
            continue
        yield Line(path, number - len(parts) + 1, "".join(parts))
        parts = []
    if parts:
        yield Line(path, number - len(parts) + 1, "".join(parts))
