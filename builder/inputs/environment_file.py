"""`environment.yml` in, a spec out.

Read with a YAML parser that keeps line numbers and builds no objects. What would be lost in silence elsewhere (a
missing name, pip without pip, an unknown key) is said aloud. Every file ends in a spec or in one sentence.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from envbuild.errors import SpecError

from ..spec import DEFAULT_CHANNEL, CondaDependency, EnvironmentSpec
from .match_spec import merge, parse_dependency
from .requirements_file import read_section, with_section
from .text_file import Line, name_of_folder, read_text, refuse_credentials

_KEYS = ("name", "channels", "dependencies", "variables", "prefix", "platforms", "category")
_ENV_NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,127}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VIRTUAL = re.compile(r"(?:==|>=)?([0-9][0-9.]*?)(?:\.\*)?")
_FOREIGN = {
    **dict.fromkeys(
        ("vc", "vs2015_runtime", "vs2019_win-64", "ucrt", "pywin32", "wincertstore", "pywinpty"), "Windows"
    ),
    **dict.fromkeys(("msys2-conda-epoch", "m2w64-gcc-libs", "win_inet_pton", "vc14_runtime"), "Windows"),
    **dict.fromkeys(("libcxx", "appnope", "python.app", "libcxxabi", "pyobjc-core"), "macOS"),
}


def read_environment(path: Path) -> EnvironmentSpec:
    """Read an environment.yml.

    Raises:
        SpecError: the file cannot be understood; the message says where and what was expected.
    """
    text = read_text(path)
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("#")[0]
        if "\xa0" in code:
            raise SpecError(f"{path}:{number}: a no-break space stands here, which YAML takes for a letter; retype it")
        if "{%" in code or "{{" in code:
            raise SpecError(f"{path}:{number}: this is a template ({code.strip()}); render it first, then register it")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{path}{where}: {_problem(error)}") from None
    except yaml.reader.ReaderError as error:
        number = text[: error.position].count("\n") + 1
        raise SpecError(f"{path}:{number}: the character #x{error.character:04x} has no place in YAML") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"{path}: not valid YAML: {' '.join(str(error).split()) or 'nested too deeply'}") from None
    if node is None:
        raise SpecError(f"{path} is empty; an environment file has at least 'dependencies: [python=3.11]'")
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(f"{path} is not an environment file: expected keys such as name, channels and dependencies")
    return _from_mapping(path, node)


def _problem(error: yaml.MarkedYAMLError) -> str:
    """What is wrong with the YAML, in the words of somebody who writes it."""
    problem = str(error.problem or error.context)
    if "\\t" in problem:
        return "a tab stands here; YAML is indented with spaces"
    if "found another document" in problem:
        return "a second document begins here (---); an environment file is one"
    return f"not valid YAML: {problem}"


def _pairs(path: Path, node: yaml.MappingNode, above: tuple[yaml.Node, ...] = ()) -> list[tuple[yaml.Node, yaml.Node]]:
    """The keys and values of `node`, with what `<<` merges into it (https://yaml.org/type/merge.html)."""
    found = [pair for pair in node.value if pair[0].value != "<<"]
    for key, value in node.value:
        if key.value != "<<":
            continue
        for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(merged, yaml.MappingNode) or merged in (node, *above):
                raise _at(path, key).error("<< takes another mapping, by its anchor")
            own = {each.value for each, _ in found if isinstance(each, yaml.ScalarNode)}
            found += [pair for pair in _pairs(path, merged, (node, *above)) if pair[0].value not in own]
    return found


def _from_mapping(path: Path, node: yaml.MappingNode) -> EnvironmentSpec:
    values: dict[str, yaml.Node] = {}
    notes = []
    for key_node, value in _pairs(path, node):
        key = _scalar(path, key_node, "a key").text
        if key in values:
            raise _at(path, key_node).error(f"the key {key!r} stands here a second time; merge the two")
        if key == "pip":
            raise _at(path, key_node).error("pip: belongs under dependencies, as an entry '- pip:'")
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            if not key.startswith("x-"):  # where people put what they give an anchor
                notes.append(f"{path.name}:{key_node.start_mark.line + 1}: the key {key!r} means nothing here{hint}")
        values[key] = value
    if "dependencies" not in values:
        raise SpecError(f"{path} has no dependencies; add for instance 'dependencies: [python=3.11]'")
    name = _scalar(path, values["name"], "the name").text if "name" in values else ""
    if not name:
        name, note = name_of_folder(path)
        notes.append(note)
    if not _ENV_NAME.fullmatch(name):
        raise _at(path, values["name"]).error(
            f"{name!r} cannot be a name: use letters, digits, '.', '-' and '_', and begin with a letter or digit"
        )
    places: dict[tuple[str, str], str] = {}
    channels = _channels(path, values["channels"], places) if "channels" in values else ()
    dependencies, pip = _dependencies(path, values["dependencies"], notes, places)
    variables = _variables(path, values["variables"], places) if "variables" in values else ()
    if not channels:
        channels = (DEFAULT_CHANNEL,)
        notes.append(f"{path.name} names no channels; {DEFAULT_CHANNEL} is used")
    virtual = {each.name: each for each in dependencies if each.name.startswith("__")}
    spec = EnvironmentSpec(
        name=name,
        channels=channels,
        dependencies=tuple(each for each in dependencies if each.name not in virtual),
        pip=(),
        variables=variables,
        source=path,
        notes=tuple(notes),
        virtual_packages=tuple(_virtual(path, each, places) for each in virtual.values()),
        places=places,
    )
    return with_section(spec, read_section(pip))


def _channels(path: Path, node: yaml.Node, places: dict[tuple[str, str], str]) -> tuple[str, ...]:
    found = []
    for line in _items(path, node, "channels"):
        channel = _channel(line)
        places.setdefault(("channels", channel), line.place)
        found.append(channel)
    return tuple(dict.fromkeys(each for each in found if each != "nodefaults"))


def _virtual(path: Path, dependency: CondaDependency, places: dict[tuple[str, str], str]) -> tuple[str, str]:
    """What the machines have, said as a dependency: `__cuda=12.4`, or `__cuda>=12` for the least of them."""
    place = places.pop(("dependencies", dependency.text))
    places[("virtual_packages", dependency.name)] = place
    match = _VIRTUAL.fullmatch(dependency.version)
    if not match or dependency.build or dependency.channel:
        raise SpecError(
            f"{path.parent / place}: {dependency.text} describes the machines; write one version, for instance "
            f"{dependency.name}=12.4"
        )
    return dependency.name, match[1]


def _channel(line: Line) -> str:
    refuse_credentials(line)
    text = line.text.strip().rstrip("/")
    if not text or any(character.isspace() for character in text):
        raise line.error(f"{line.text!r} is no channel; expected a name such as conda-forge, or a URL")
    return text


def _dependencies(
    path: Path, node: yaml.Node, notes: list[str], places: dict[tuple[str, str], str]
) -> tuple[tuple[CondaDependency, ...], list[Line]]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise _at(path, node).error("dependencies must be a list with at least one entry, for instance '- python=3.11'")
    found: dict[str, CondaDependency] = {}
    pip: list[Line] = []
    blocks = 0
    for entry in node.value:
        if isinstance(entry, yaml.MappingNode):
            for key, value in entry.value:
                name = _scalar(path, key, "a key").text
                if name != "pip":
                    what = "an entry of dependencies is a package, or 'pip:' with a list below it"
                    written = value.value if isinstance(value, yaml.ScalarNode) else ""
                    raise _at(path, key).error(f"{what}; write {name}={written}" if written else what)
                blocks += 1
                pip += _items(path, value, "pip")
            continue
        line = _scalar(path, entry, "an entry of dependencies")
        refuse_credentials(line)
        try:
            dependency = parse_dependency(line.text)
        except ValueError as error:
            raise line.error(str(error)) from None
        if dependency.name in _FOREIGN:
            raise line.error(
                f"{dependency.name} exists only on {_FOREIGN[dependency.name]}: this file was exported there; "
                "export it again with 'conda env export --from-history', or remove what belongs to that system"
            )
        merged = _merged(found.get(dependency.name), dependency, line)
        found[merged.name] = merged
        places[("dependencies", merged.text)] = line.place
    if blocks > 1:
        notes.append(f"{path.name} has {blocks} pip sections; all of them are used (conda keeps only the last)")
    return tuple(found[name] for name in sorted(found)), pip


def _merged(earlier: CondaDependency | None, later: CondaDependency, line: Line) -> CondaDependency:
    if earlier is None:
        return later
    try:
        return merge(earlier, later)
    except ValueError as error:
        raise line.error(str(error)) from None


def _variables(path: Path, node: yaml.Node, places: dict[tuple[str, str], str]) -> tuple[tuple[str, str], ...]:
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        return ()
    if not isinstance(node, yaml.MappingNode):
        raise _at(path, node).error("variables must be NAME: value pairs")
    found = {}
    for key, value in _pairs(path, node):
        name = _scalar(path, key, "a variable's name")
        if name.text in found:
            raise name.error(f"the variable {name.text} stands here a second time; keep one")
        if not _VARIABLE.fullmatch(name.text):
            raise name.error(f"{name.text!r} cannot name a variable: use letters, digits and _")
        content = _scalar(path, value, f"the value of {name.text}").text
        found[name.text] = content
        places[("variables", name.text)] = name.place
    return tuple(sorted(found.items()))


def _items(path: Path, node: yaml.Node, what: str) -> Iterator[Line]:
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        return
    if not isinstance(node, yaml.SequenceNode):
        raise _at(path, node).error(f"{what} must be a list, one '- entry' a line")
    for item in node.value:
        yield _scalar(path, item, f"an entry of {what}")


def _scalar(path: Path, node: yaml.Node, what: str) -> Line:
    line = _at(path, node)
    if not isinstance(node, yaml.ScalarNode):
        hint = "; this has a colon that makes it a mapping: put it into quotes"
        raise line.error(f"{what} must be plain text{hint if isinstance(node, yaml.MappingNode) else ''}")
    if node.tag.endswith(":null") and what.startswith("an entry"):
        raise line.error(f"{what} is empty; remove the line or fill it")
    if "\0" in node.value:
        raise line.error(f"{what} holds a NUL character")
    return Line(path, line.number, str(node.value).strip())


def _at(path: Path, node: yaml.Node) -> Line:
    return Line(path, node.start_mark.line + 1, "")
