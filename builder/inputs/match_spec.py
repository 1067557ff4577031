"""One conda dependency: every form that people write, in the pieces of a MatchSpec, in one spelling."""

import re
from dataclasses import replace

from ..spec import CondaDependency

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_VERSION = re.compile(r"[A-Za-z0-9_.+\-!*<>=~,|^$()]+")
_BUILD = re.compile(r"[A-Za-z0-9_.*+^$()\[\]|?\\-]+")
_ARCHIVE_URL = re.compile(r"\w+://\S+\.(conda|tar\.bz2)")
_BRACKETS = re.compile(r"""([^\s\[]+)\s*\[((?:\s*\w+\s*=\s*(?:'[^']*'|"[^"]*"|[^\s,'"\]]+)\s*(?:,|(?=\])))+)\]""")
_PAIR = re.compile(r"""(\w+)\s*=\s*('[^']*'|"[^"]*"|[^\s,'"]+)""")


def parse_dependency(text: str) -> CondaDependency:
    """Read one conda dependency: every form that `conda env create` takes.

    Raises:
        ValueError: with a sentence that says what is wrong.
    """
    text = text.strip()
    if ";" in text:
        raise ValueError(f"{text!r} has a marker, which conda does not know; leave it out, or move the line to pip")
    if _ARCHIVE_URL.fullmatch(text):
        raise ValueError(f"{text!r} is one file of a channel; name that channel, and here the package and its version")
    bracketed = _BRACKETS.fullmatch(text)
    if bracketed:
        return _with_brackets(parse_dependency(bracketed[1]), dict(_PAIR.findall(bracketed[2])), text)
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


def merge(earlier: CondaDependency, later: CondaDependency) -> CondaDependency:
    """One package named twice: both conditions hold.

    Raises:
        ValueError: no package can meet both.
    """
    if earlier == later:
        return later
    for one, two, what in ((earlier.build, later.build, "builds"), (earlier.channel, later.channel, "channels")):
        if one and two and one != two:
            raise ValueError(f"{later.name} is asked for with two {what}, {one} and {two}; keep one")
    versions = [each.version for each in (earlier, later) if each.version]
    if len(versions) == 2 and any("|" in version for version in versions):
        raise ValueError(f"{later.name} is asked for twice, with {versions[0]} and {versions[1]}; write one condition")
    exact = {term for version in versions for term in version.split(",") if term.startswith("==")}
    if len(exact) > 1:
        raise ValueError(f"{later.name} is asked for as {' and as '.join(sorted(exact))}; no version is both")
    version = ",".join(sorted({term for version in versions for term in version.split(",")}))
    return CondaDependency(later.name, version, later.build or earlier.build, later.channel or earlier.channel)


def _with_brackets(bare: CondaDependency, said: dict[str, str], whole: str) -> CondaDependency:
    """`python[version='>=3.11,<4', build=*_cpython]`: what stands in brackets counts (conda's documentation of
    MatchSpec)."""
    unknown = sorted(said.keys() - {"version", "build", "channel"})
    if unknown:
        raise ValueError(f"{unknown[0]} in {whole!r} is not read; of brackets version, build and channel are")
    parts = {key: value.strip("'\"") for key, value in said.items()}
    version, build = _version_and_build(parts.get("version", "*"), whole)
    if build:
        raise ValueError(f"{parts['version']!r} in {whole!r} is not a version")
    if "build" in parts:
        _, build = _version_and_build(f"* {parts['build']}", whole)
    return replace(
        bare,
        version=version if "version" in parts else bare.version,
        build=build if "build" in parts else bare.build,
        channel=parts.get("channel", bare.channel).strip().rstrip("/"),
    )


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
    if any(not re.search(r"[A-Za-z0-9*]$|\)$|\$$", term) for term in re.split(r"[,|]", version) if term):
        raise ValueError(f"{whole!r} compares with no version; finish it, or leave the sign out")
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
