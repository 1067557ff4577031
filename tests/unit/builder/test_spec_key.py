"""The spec key: what means the same has one key, what means something else has another."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.inputs.spec_file import read_spec
from envbuild.builder.spec import spec_key

NAMES = ("numpy", "pandas", "scikit-learn", "jinja2", "pytorch", "_libgcc_mutex", "ruamel.yaml", "zlib")
PIP_NAMES = ("requests", "typing-extensions", "zope-interface", "six")
VERSIONS = ("1", "1.2", "2.10.3", "2024.1.post1")
FORMS = {
    "any": ("{name}", "{name} ", "{name} *", "{name}=*"),
    "family": ("{name}={version}", "{name} ={version}", "{name}={version}.*", "{name} {version}.*"),
    "exact": ("{name}=={version}", "{name} =={version}", "{name} == {version}", "{name} {version}"),
    "range": ("{name}>={version},<9", "{name} <9,>={version}", "{name} >={version}, <9", "{name} >= {version},< 9"),
}
PIP_FORMS = {
    "any": ("{name}", "{name} "),
    "exact": ("{name}=={version}", "{name} == {version}"),
    "range": ("{name}>={version},<9999", "{name} <9999, >={version}"),
}


@dataclass(frozen=True)
class Meaning:
    """What a file asks for, in no particular spelling."""

    channels: tuple[str, ...]
    packages: tuple[tuple[str, str, str], ...]
    """Name, form, version."""
    pip: tuple[tuple[str, str, str], ...]
    variables: tuple[tuple[str, str], ...]


def requirements(names: Sequence[str], forms: Sequence[str]) -> st.SearchStrategy[tuple[tuple[str, str, str], ...]]:
    entry = st.tuples(st.sampled_from(names), st.sampled_from(forms), st.sampled_from(VERSIONS))
    return st.lists(entry, min_size=1, max_size=4, unique_by=lambda each: each[0]).map(tuple)


meanings = st.builds(
    Meaning,
    channels=st.lists(st.sampled_from(("conda-forge", "defaults", "mine")), min_size=1, unique=True).map(tuple),
    packages=requirements(NAMES, tuple(FORMS)),
    pip=st.one_of(st.just(()), requirements(PIP_NAMES, tuple(PIP_FORMS))),
    variables=st.dictionaries(st.sampled_from(("A", "B", "MODE")), st.sampled_from(("1", "x y", ""))).map(
        lambda found: tuple(sorted(found.items()))
    ),
)


def spelled(meaning: Meaning, seed: int) -> str:
    """One of the many files that mean `meaning`."""
    chance = random.Random(seed)

    def line(indent: str, text: str) -> str:
        quoted = f"'{text}'" if chance.random() < 0.3 or text != text.strip() else text
        return f"{indent}- {quoted}{chance.choice(['', '  ', '  # because'])}"

    def name(text: str) -> str:
        return chance.choice([text, text.upper(), text.title()])

    def pip_name(text: str) -> str:
        return name(text).replace("-", chance.choice("-_."))

    packages = [
        line("  ", chance.choice(FORMS[form]).format(name=name(each), version=version))
        for each, form, version in meaning.packages
    ]
    pip = [
        line("    ", chance.choice(PIP_FORMS[form]).format(name=pip_name(each), version=version))
        for each, form, version in meaning.pip
    ]
    chance.shuffle(packages)
    chance.shuffle(pip)
    if pip:
        packages.insert(chance.randrange(len(packages) + 1), "  - pip:\n" + "\n".join(pip))
    variables = [f"  {key}: '{value}'" for key, value in meaning.variables]
    chance.shuffle(variables)
    parts = [
        f"name: n{seed}",
        "channels:\n" + "\n".join(line("  ", each) for each in meaning.channels),
        "dependencies:\n" + "\n".join(packages),
        *(["variables:\n" + "\n".join(variables)] if variables else []),
    ]
    chance.shuffle(parts)
    return chance.choice(["", "# an environment\n", "\n\n"]) + "\n".join(parts) + "\n"


def key(folder: Path, text: str) -> str:
    file = folder / "environment.yml"
    file.write_text(text)
    return spec_key(read_spec(file), {})[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spec")


@settings(max_examples=150, deadline=None)
@given(meaning=meanings, one=st.integers(0, 10**6), two=st.integers(0, 10**6))
def test_order_spaces_comments_case_and_spelling_keep_the_key(
    folder: Path, meaning: Meaning, one: int, two: int
) -> None:
    assert key(folder, spelled(meaning, one)) == key(folder, spelled(meaning, two))


CHANGES = {
    "another version": lambda meaning: replace(
        meaning, packages=((*meaning.packages[0][:2], "77"), *meaning.packages[1:])
    ),
    "one package more": lambda meaning: replace(meaning, packages=(*meaning.packages, ("bzip2", "any", ""))),
    "one package less": lambda meaning: replace(meaning, packages=meaning.packages[1:] or (("bzip2", "any", ""),)),
    "an exact version": lambda meaning: replace(
        meaning, packages=((meaning.packages[0][0], "exact", "99"), *meaning.packages[1:])
    ),
    "one channel more": lambda meaning: replace(meaning, channels=(*meaning.channels, "last")),
    "another order of channels": lambda meaning: replace(meaning, channels=("first", *meaning.channels[::-1])),
    "one requirement more": lambda meaning: replace(meaning, pip=(*meaning.pip, ("attrs", "any", ""))),
    "another variable": lambda meaning: replace(meaning, variables=(*meaning.variables, ("Z", "1"))),
}


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=20, deadline=None)
@given(meaning=meanings, seed=st.integers(0, 10**6))
def test_a_change_of_meaning_changes_the_key(folder: Path, change: str, meaning: Meaning, seed: int) -> None:
    if change == "another version" and meaning.packages[0][1] == "any":
        meaning = replace(meaning, packages=((meaning.packages[0][0], "family", "1"), *meaning.packages[1:]))
    assert key(folder, spelled(CHANGES[change](meaning), seed)) != key(folder, spelled(meaning, seed))
