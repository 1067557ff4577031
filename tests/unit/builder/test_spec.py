"""How environment files are read: every form people write, and one sentence for what cannot be understood."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.inputs.match_spec import parse_dependency
from envbuild.builder.inputs.spec_file import read_spec
from envbuild.builder.spec import spec_key
from envbuild.errors import SpecError

TUTORIAL = """\
name: pytorch-env
channels:
    - defaults
    - pytorch
dependencies:
    - python=3.11
    - pytorch
    - torchvision
"""


def write(folder: Path, text: str | bytes, name: str = "environment.yml") -> Path:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_the_tutorial_s_file(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, TUTORIAL))
    assert (spec.name, spec.channels) == ("pytorch-env", ("defaults", "pytorch"))
    assert [each.text for each in spec.dependencies] == ["python 3.11.*", "pytorch", "torchvision"]
    assert spec.notes == ()


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("numpy", "numpy"),
        ("NumPy", "numpy"),
        ("numpy=1.26", "numpy 1.26.*"),
        ("numpy =1.26", "numpy 1.26.*"),
        ("numpy=1.26.*", "numpy 1.26.*"),
        ("numpy==1.26.4", "numpy ==1.26.4"),
        ("numpy == 1.26.4", "numpy ==1.26.4"),
        ("numpy 1.26.4", "numpy ==1.26.4"),
        ("numpy>=1.2,<3", "numpy <3,>=1.2"),
        ("numpy >=1.2, <3", "numpy <3,>=1.2"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy ==1.26.4 py311h64a7726_0"),
        ("numpy 1.26.4 py311h64a7726_0", "numpy ==1.26.4 py311h64a7726_0"),
        ("numpy 1.8.*|1.9.*", "numpy 1.8.*|1.9.*"),
        ("numpy=*", "numpy"),
        ("numpy !=1.5", "numpy !=1.5"),
        ("numpy~=1.5", "numpy ~=1.5"),
        ("conda-forge::numpy=1.2", "conda-forge::numpy 1.2.*"),
        ("pytorch=*=cuda*", "pytorch * cuda*"),
        ("_libgcc_mutex=0.1=main", "_libgcc_mutex ==0.1 main"),
    ],
)
def test_every_form_of_a_dependency(written: str, canonical: str) -> None:
    assert parse_dependency(written).text == canonical


@pytest.mark.parametrize(
    "written", ["numpy=>1.2", "python='3.10'", "requests[security]", "=1.2", "", "a b c d", "numpy==1 2 3"]
)
def test_what_is_no_dependency(written: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_dependency(written)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dependencies: [", r"environment.yml:\d: not valid YAML"),
        ("- a\n- b\n", "is not an environment file"),
        ("name: x\n", "has no dependencies"),
        ("name: x\ndependencies: []\n", r"environment.yml:2: dependencies must be a list with at least one entry"),
        ("name: x\ndependencies:\n- python\n-\n", r"environment.yml:4: an entry of dependencies is empty"),
        ("name: x\ndependencies:\n- [a]\n", r"environment.yml:3: an entry of dependencies must be plain text"),
        ("name: x\npip: [a]\ndependencies: [python]\n", r"environment.yml:2: pip: belongs under dependencies"),
        ("name: x\ndependencies:\n- python\n- numpy=>1\n", r"environment.yml:4: 'numpy=>1': write >= or <="),
        ("name: x\ndependencies:\n- python=3.9=a\n- python=3.9=b\n", "with two builds, a and b"),
        ("name: x\ndependencies: [python==3.9, python==3.8]\n", "no version is both"),
        ("name: x\ndependencies: [python, vc=14]\n", "exists only on Windows"),
        ("name: x\ndependencies: [python, pip: ['requests=2']]\n", "pip compares with ==, not ="),
        ("name: x\ndependencies: [python, pip: ['/home/me/wheel.whl']]\n", "a path of one machine"),
        ("name: x\ndependencies: [python, {conda: [a]}]\n", "or 'pip:' with a list below it"),
        ("name: '{{ name }}'\ndependencies: [python]\n", r"environment.yml:1: this is a template"),
        ("name: ../x\ndependencies: [python]\n", "cannot be a name"),
        ("name: x\nname: y\ndependencies: [python]\n", "stands here a second time"),
        ("name: x\nvariables: {a b: c}\ndependencies: [python]\n", "cannot name a variable"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        read_spec(write(tmp_path, text))


def test_missing_things_are_added_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    folder.mkdir()
    spec = read_spec(write(folder, "dependencies:\n- numpy\n- pip:\n  - six\nchanels: [x]\n"))
    assert (spec.name, spec.channels) == ("my-project", ("defaults",))
    assert [each.name for each in spec.dependencies] == ["numpy", "pip", "python"]
    assert spec.notes == (
        "environment.yml:5: the key 'chanels' means nothing here; did you mean channels?",
        "environment.yml has no name; it is called my-project, like its folder",
        "environment.yml names no channels; defaults is used",
        "environment.yml does not ask for python; the newest that fits is added",
        "environment.yml has a pip section and does not ask for pip; it is added",
    )


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("日本", "environment-日本"),
        ("_x", "x"),
        ("...", "environment"),
        ("a" * 200, "a" * 128),
        ("é1", "environment-é1"),
    ],
)
def test_every_folder_lends_a_name(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    assert read_spec(write(tmp_path / folder, "dependencies:\n- python\n")).name == name


def test_pip_sections_are_merged_with_options_first(tmp_path: Path) -> None:
    write(tmp_path, "idna==3\n", "more.txt")
    text = "name: x\ndependencies:\n- python\n- pip\n- pip: [Six >=1, -r more.txt]\n- pip: ['git+https://x.test/a.git#egg=a']\n"
    spec = read_spec(write(tmp_path, text))
    assert spec.pip == ("a @ git+https://x.test/a.git", "idna==3", "six>=1")


def test_utf16_and_crlf_are_read(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, TUTORIAL.replace("\n", "\r\n").encode("utf-16")))
    assert spec.name == "pytorch-env"


def test_a_requirements_file_is_a_pip_section(tmp_path: Path) -> None:
    write(tmp_path, "six\n", "other.txt")
    spec = read_spec(write(tmp_path, "# mine\nrequests>=2.31  # why\n-r other.txt\n", "requirements.txt"), name="web")
    assert (spec.name, spec.pip) == ("web", ("requests>=2.31", "six"))
    assert [each.name for each in spec.dependencies] == ["pip", "python"]


def test_the_content_of_included_files_is_part_of_the_key(tmp_path: Path) -> None:
    file = write(tmp_path, "-r more.txt\n", "requirements.txt")
    write(tmp_path, "-c limits.txt\nsix\n", "more.txt")
    write(tmp_path, "six<2\n", "limits.txt")
    one = spec_key(read_spec(file), {})[0]
    write(tmp_path, "six<3\n", "limits.txt")
    assert spec_key(read_spec(file), {})[0] != one
    (tmp_path / "limits.txt").unlink()
    with pytest.raises(SpecError, match=r"more.txt:1: limits.txt does not exist beside more.txt"):
        read_spec(file)


def test_hashes_of_a_requirement_stay(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, "Six==1.16 \\\n    --hash=sha256:aa\n", "requirements.txt"))
    assert spec.pip == ("six==1.16 --hash=sha256:aa",)


def test_channel_order_is_meaning(tmp_path: Path) -> None:
    one = spec_key(read_spec(write(tmp_path, TUTORIAL)), {})[0]
    swapped = TUTORIAL.replace("defaults", "x").replace("pytorch\n", "defaults\n", 1).replace("x", "pytorch", 1)
    assert spec_key(read_spec(write(tmp_path, swapped)), {})[0] != one


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_order_spaces_comments_case_and_name_keep_the_key(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    forms = [
        ("python=3.11", "python =3.11.*"),
        ("numpy >=1.2,<3", "NumPy>=1.2, <3"),
        ("jinja2", "Jinja2"),
        ("six==1", "six 1"),
    ]
    lines = [f"  - {chance.choice(pair)}{chance.choice(['', '   ', '  # note', ' # [linux]'])}" for pair in forms]
    chance.shuffle(lines)
    text = f"name: n{seed}\nchannels: [defaults]\ndependencies:\n" + "\n".join(lines) + "\n"
    folder = tmp_path_factory.mktemp("spec")
    assert spec_key(read_spec(write(folder, text)), {})[0] == (
        "sha256:182786c7137a01e7e30b49b9580405037c266c02ec6204e62568b6ed5b82ef37"
    )


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_ends_in_a_spec_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass") if text.isascii() else file.write_bytes(
        text.encode("utf-8", "replace")
    )
    try:
        read_spec(file)
    except SpecError as error:
        assert str(error)
