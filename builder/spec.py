"""An environment file in, the canonical request out.

Files are read as people write them: with a YAML parser that keeps line numbers and builds no objects. What order,
comments, spaces and letter case cannot mean is normalised away; what would be lost in silence elsewhere (a missing
name, pip without pip, an unknown key) is said aloud. Every file ends in a request or in one sentence.
"""

import codecs
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from envbuild.errors import SpecError

DEFAULT_CHANNEL = "defaults"

_KEYS = ("name", "channels", "dependencies", "variables", "prefix", "platforms", "category")
_MAX_BYTES = 4 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_ENV_NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,127}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"[A-Za-z0-9_.+\-!*<>=~,|^$()]+")
_BUILD = re.compile(r"[A-Za-z0-9_.*+^$()\[\]|?\\-]+")
_INCLUDE = re.compile(r"(?:-[rc]|--requirement|--constraint)[ =]*([^\s#]+)")
_HASHES = re.compile(r"\s+(--hash[= ].*)$", re.DOTALL)
_PIP_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)", re.DOTALL)
_FOREIGN = {
    **dict.fromkeys(
        ("vc", "vs2015_runtime", "vs2019_win-64", "ucrt", "pywin32", "wincertstore", "pywinpty"), "Windows"
    ),
    **dict.fromkeys(("msys2-conda-epoch", "m2w64-gcc-libs", "win_inet_pton", "vc14_runtime"), "Windows"),
    **dict.fromkeys(("libcxx", "appnope", "python.app", "libcxxabi", "pyobjc-core"), "macOS"),
}


@dataclass(frozen=True)
class CondaDependency:
    """One package asked for from conda channels, in the pieces of a MatchSpec (conda's documentation)."""

    name: str
    version: str = ""
    """Sorted, for instance `<2,>=1.5` or `1.2.*`; empty for any."""
    build: str = ""
    channel: str = ""

    @property
    def text(self) -> str:
        """The MatchSpec."""
        spec = " ".join(part for part in (self.name, self.version or ("*" if self.build else ""), self.build) if part)
        return f"{self.channel}::{spec}" if self.channel else spec


@dataclass(frozen=True)
class EnvironmentSpec:
    """What a user asks for. Equal requests are equal values, but for `name`, `source` and `notes`."""

    name: str
    channels: tuple[str, ...]
    """In the order written: it is meaning."""
    dependencies: tuple[CondaDependency, ...]
    """Sorted by name, one for each name."""
    pip: tuple[str, ...]
    """Lines of a requirements file: options first, in their order, then requirements, sorted."""
    variables: tuple[tuple[str, str], ...]
    source: Path
    notes: tuple[str, ...] = ()
    """What was assumed, to be said aloud."""
    included: tuple[tuple[str, str], ...] = ()
    """Name and sha256 of every file that pip lines bring in (`-r`, `-c`): their content is part of the request."""


@dataclass(frozen=True)
class _Line:
    """A text of the file with where it stands."""

    file: Path
    number: int
    text: str

    def error(self, sentence: str) -> SpecError:
        return SpecError(f"{self.file}:{self.number}: {sentence}")


def read_spec(path: Path, *, name: str | None = None) -> EnvironmentSpec:
    """Read an environment.yml, or a requirements file when `path` ends in `.txt`.

    Raises:
        SpecError: the file cannot be understood; the message says where and what was expected.
    """
    text = _decode(path)
    spec = _read_requirements(path, text) if path.suffix in (".txt", ".in") else _read_environment(path, text)
    return _complete(replace(spec, name=name) if name else spec)


def spec_key(spec: EnvironmentSpec, steering: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """`sha256:<hex>` that answers "have we locked this request?", and the ingredients it was made of.

    `steering` is what else decides the solve: platform, virtual packages, channel mapping, pip indexes.
    """
    ingredients: dict[str, object] = {
        "channels": list(spec.channels),
        "dependencies": [dependency.text for dependency in spec.dependencies],
        "pip": list(spec.pip),
        "variables": dict(spec.variables),
        "steering": dict(steering),
    }
    if spec.included:
        ingredients["included"] = dict(spec.included)
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", ingredients


def parse_dependency(text: str) -> CondaDependency:
    """Read one conda dependency: every form that `conda env create` takes.

    Raises:
        ValueError: with a sentence that says what is wrong.
    """
    text = text.strip()
    if "'" in text or '"' in text:
        raise ValueError(f"quotes do not belong into {text!r}; write it without them")
    channel, _, rest = text.rpartition("::")
    match = _NAME.match(rest)
    if not match:
        raise ValueError(f"{text!r} does not begin with a package name")
    name, rest = match.group().lower(), rest[match.end() :].strip()
    if name.endswith((".", "-")):
        raise ValueError(f"{text!r} does not begin with a package name")
    if rest.startswith("["):
        raise ValueError(f"conda packages have no extras or brackets: {text!r}; ask for {name} and a version")
    version, build = _version_and_build(rest, text)
    return CondaDependency(name, version, build, channel.strip().rstrip("/"))


def _version_and_build(rest: str, whole: str) -> tuple[str, str]:
    if "=>" in rest or "=<" in rest:
        raise ValueError(f"{whole!r}: write >= or <=, not => or =<")
    build = ""
    # name=version=build and "name version build" name one version exactly; name=version a family of versions
    triple = re.fullmatch(r"=\s*([^=<>!~,|\s]+)\s*=\s*([^=\s]+)", rest)
    words = re.sub(r"\s*([,|])\s*", r"\1", re.sub(r"([<>=!~]+)\s+", r"\1", rest)).split()
    if triple:
        version, build = triple.groups()
        version = version if version.endswith("*") else f"=={version}"
    elif len(words) > 2:
        raise ValueError(f"{whole!r} has too many parts; expected name, version, build")
    else:
        version, build = (*words, "", "")[:2]
        version = _canonical_version(version, exact=len(words) == 2)
    version = "" if version in ("*", "==*") else version
    if version and not _VERSION.fullmatch(version):
        raise ValueError(f"{version!r} in {whole!r} is not a version")
    if build and not _BUILD.fullmatch(build):
        raise ValueError(f"{build!r} in {whole!r} is not a build string")
    return version, "" if build == "*" else build


def _canonical_version(version: str, exact: bool) -> str:
    alternatives = []
    for alternative in version.split("|"):
        terms = []
        for term in alternative.split(","):
            if re.fullmatch(r"=[^=<>!~].*", term):
                terms.append(term[1:] if term.endswith("*") else f"{term[1:]}.*")
            elif term and re.match(r"[A-Za-z0-9]", term) and not term.endswith("*"):
                terms.append(f"=={term}")
            elif term.endswith(".*") and term.startswith("==") and not exact:
                terms.append(term[2:])
            elif term:
                terms.append(term)
        alternatives.append(",".join(sorted(set(terms))))
    return "|".join(sorted(set(alternatives)))


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise SpecError(f"{path} has {len(data)} bytes; an environment file has at most {_MAX_BYTES}")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SpecError(f"{path}:{line}: this is not {encoding.removesuffix('-sig')} text; save it as UTF-8") from None


def _read_environment(path: Path, text: str) -> EnvironmentSpec:
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("#")[0]
        if "{%" in code or "{{" in code:
            raise SpecError(f"{path}:{number}: this is a template ({code.strip()}); render it first, then register it")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{path}{where}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"{path}: not valid YAML: {' '.join(str(error).split()) or 'nested too deeply'}") from None
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(f"{path} is not an environment file: expected keys such as name, channels and dependencies")
    return _from_mapping(path, node)


def _from_mapping(path: Path, node: yaml.MappingNode) -> EnvironmentSpec:
    values: dict[str, yaml.Node] = {}
    notes = []
    for key_node, value in node.value:
        key = _scalar(path, key_node, "a key").text
        if key in values:
            raise _at(path, key_node).error(f"the key {key!r} stands here a second time; merge the two")
        if key == "pip":
            raise _at(path, key_node).error("pip: belongs under dependencies, as an entry '- pip:'")
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            notes.append(f"{path.name}:{key_node.start_mark.line + 1}: the key {key!r} means nothing here{hint}")
        values[key] = value
    if "dependencies" not in values:
        raise SpecError(f"{path} has no dependencies; add for instance 'dependencies: [python=3.11]'")
    name = _scalar(path, values["name"], "the name").text if "name" in values else ""
    if not name:
        name = re.sub(r"[^\w.-]", "-", path.absolute().parent.name).lstrip("-_.") or "environment"
        notes.append(f"{path.name} has no name; it is called {name}, like its folder")
    if not _ENV_NAME.fullmatch(name):
        raise _at(path, values["name"]).error(
            f"{name!r} cannot be a name: use letters, digits, '.', '-' and '_', and begin with a letter or digit"
        )
    channels = tuple(
        _channel(each) for each in (_items(path, values["channels"], "channels") if "channels" in values else ())
    )
    dependencies, pip = _dependencies(path, values["dependencies"], notes)
    variables = _variables(path, values["variables"]) if "variables" in values else ()
    kept = tuple(dict.fromkeys(each for each in channels if each != "nodefaults"))
    if not kept:
        kept = (DEFAULT_CHANNEL,)
        notes.append(f"{path.name} names no channels; {DEFAULT_CHANNEL} is used")
    return EnvironmentSpec(name, kept, dependencies, pip, variables, path, tuple(notes))


def _channel(line: _Line) -> str:
    text = line.text.strip().rstrip("/")
    if not text or any(character.isspace() for character in text):
        raise line.error(f"{line.text!r} is no channel; expected a name such as conda-forge, or a URL")
    return text


def _dependencies(path: Path, node: yaml.Node, notes: list[str]) -> tuple[tuple[CondaDependency, ...], tuple[str, ...]]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise _at(path, node).error("dependencies must be a list with at least one entry, for instance '- python=3.11'")
    found: dict[str, CondaDependency] = {}
    pip: list[_Line] = []
    blocks = 0
    for entry in node.value:
        if isinstance(entry, yaml.MappingNode):
            for key, value in entry.value:
                if _scalar(path, key, "a key").text != "pip":
                    raise _at(path, key).error("an entry of dependencies is a package, or 'pip:' with a list below it")
                blocks += 1
                pip += _items(path, value, "pip")
            continue
        line = _scalar(path, entry, "an entry of dependencies")
        try:
            dependency = parse_dependency(line.text)
        except ValueError as error:
            raise line.error(str(error)) from None
        if dependency.name in _FOREIGN:
            raise line.error(
                f"{dependency.name} exists only on {_FOREIGN[dependency.name]}: this file was exported there; "
                "export it again with 'conda env export --from-history', or remove what belongs to that system"
            )
        found[dependency.name] = _merge(found.get(dependency.name), dependency, line)
    if blocks > 1:
        notes.append(f"{path.name} has {blocks} pip sections; all of them are used (conda keeps only the last)")
    return tuple(found[name] for name in sorted(found)), _pip_lines(pip)


def _merge(earlier: CondaDependency | None, later: CondaDependency, line: _Line) -> CondaDependency:
    """One package named twice: both conditions hold."""
    if earlier is None or earlier == later:
        return later
    for one, two, what in ((earlier.build, later.build, "builds"), (earlier.channel, later.channel, "channels")):
        if one and two and one != two:
            raise line.error(f"{later.name} is asked for with two {what}, {one} and {two}; keep one")
    versions = [each.version for each in (earlier, later) if each.version]
    if len(versions) == 2 and any("|" in version for version in versions):
        raise line.error(f"{later.name} is asked for twice, with {versions[0]} and {versions[1]}; write one condition")
    exact = {term for version in versions for term in version.split(",") if term.startswith("==")}
    if len(exact) > 1:
        raise line.error(f"{later.name} is asked for as {' and as '.join(sorted(exact))}; no version is both")
    version = ",".join(sorted({term for version in versions for term in version.split(",")}))
    return CondaDependency(later.name, version, later.build or earlier.build, later.channel or earlier.channel)


def _pip_lines(lines: Sequence[_Line]) -> tuple[str, ...]:
    options, requirements = [], []
    for line in lines:
        text = re.sub(r"\s+#.*$", "", line.text).strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("-"):
            options.append(text)
        else:
            requirements.append(_canonical_requirement(text, line))
    return (*dict.fromkeys(options), *sorted(set(requirements)))


def _canonical_requirement(text: str, line: _Line) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    if "://" in text or text.startswith((".", "/")):
        if re.match(r"(/|[A-Za-z]:\\)", text) or text.startswith("file:///"):
            raise line.error(f"{text} is a path of one machine; use a path relative to the environment file, or a URL")
        return text
    hashes = _HASHES.search(text)
    text = text[: hashes.start()] if hashes else text
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        match = _PIP_NAME.fullmatch(text)
        if match and re.match(r"=[^=]", match.group(2)):
            raise line.error(
                f"{text!r}: pip compares with ==, not =; write {match.group(1)}={match.group(2)}"
            ) from None
        raise line.error(f"{text!r} is no requirement that pip knows; expected for instance requests>=2.31") from None
    requirement.name = canonicalize_name(requirement.name)
    return f"{requirement} {' '.join(hashes[1].split())}" if hashes else str(requirement)


def _variables(path: Path, node: yaml.Node) -> tuple[tuple[str, str], ...]:
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        return ()
    if not isinstance(node, yaml.MappingNode):
        raise _at(path, node).error("variables must be NAME: value pairs")
    found = {}
    for key, value in node.value:
        name = _scalar(path, key, "a variable's name")
        if not _VARIABLE.fullmatch(name.text):
            raise name.error(f"{name.text!r} cannot name a variable: use letters, digits and _")
        content = _scalar(path, value, f"the value of {name.text}").text
        if "\0" in content:
            raise name.error(f"the value of {name.text} holds a NUL character")
        found[name.text] = content
    return tuple(sorted(found.items()))


def _read_requirements(path: Path, text: str) -> EnvironmentSpec:
    """A pip requirements file: everything is pip's, and Python comes from conda."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = [_Line(path, number, line) for number, line in enumerate(joined.splitlines(), 1)]
    pip = _pip_lines(lines)
    if not pip:
        raise SpecError(f"{path} names no packages; expected one requirement a line, for instance requests>=2.31")
    name = re.sub(r"[^\w.-]", "-", path.absolute().parent.name).lstrip("-_.") or "environment"
    notes = (f"{path.name} has no name; it is called {name}, like its folder",)
    return EnvironmentSpec(name, (DEFAULT_CHANNEL,), (), pip, (), path, notes)


def _complete(spec: EnvironmentSpec) -> EnvironmentSpec:
    """Add what the request needs and does not say: Python, and pip for a pip section."""
    names = {dependency.name for dependency in spec.dependencies}
    added = []
    notes = list(spec.notes)
    if "python" not in names:
        added.append(CondaDependency("python"))
        notes.append(f"{spec.source.name} does not ask for python; the newest that fits is added")
    if spec.pip and "pip" not in names:
        added.append(CondaDependency("pip"))
        notes.append(f"{spec.source.name} has a pip section and does not ask for pip; it is added")
    dependencies = tuple(sorted((*spec.dependencies, *added), key=lambda each: each.name))
    return replace(spec, dependencies=dependencies, notes=tuple(notes), included=_included(spec))


def _included(spec: EnvironmentSpec) -> tuple[tuple[str, str], ...]:
    """The files that `-r` and `-c` lines name, and those that they name in turn; URLs are not looked at."""
    folder = spec.source.absolute().parent
    found: dict[str, str] = {}
    wanted = [(name, folder) for name in _files_named(spec.pip)]
    while wanted:
        name, parent = wanted.pop()
        path = (parent / name).resolve()
        shown = os.path.relpath(path, folder.resolve())
        if "://" in name or shown in found:
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SpecError(f"{spec.source} brings in {name}, which cannot be read: {error.strerror}") from None
        found[shown] = hashlib.sha256(data).hexdigest()
        wanted += [(each, path.parent) for each in _files_named(data.decode("utf-8", "replace").splitlines())]
    return tuple(sorted(found.items()))


def _files_named(lines: Iterable[str]) -> list[str]:
    return [match[1] for line in lines if (match := _INCLUDE.match(line.strip()))]


def _items(path: Path, node: yaml.Node, what: str) -> Iterator[_Line]:
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        return
    if not isinstance(node, yaml.SequenceNode):
        raise _at(path, node).error(f"{what} must be a list, one '- entry' a line")
    for item in node.value:
        yield _scalar(path, item, f"an entry of {what}")


def _scalar(path: Path, node: yaml.Node, what: str) -> _Line:
    line = _at(path, node)
    if not isinstance(node, yaml.ScalarNode):
        raise line.error(f"{what} must be plain text")
    if node.tag.endswith(":null") and what.startswith("an entry"):
        raise line.error(f"{what} is empty; remove the line or fill it")
    return _Line(path, line.number, str(node.value).strip())


def _at(path: Path, node: yaml.Node) -> _Line:
    return _Line(path, node.start_mark.line + 1, "")
