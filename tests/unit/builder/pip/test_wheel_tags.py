"""Which wheel a platform takes: by tags, not by its place in a list."""

import pytest

from envbuild.builder.pip.stub_index import pep440
from envbuild.builder.pip.wheel_tags import best_wheel, uv_platform

MACHINES = {"__glibc": "2.28"}
NAMES = [
    "a-1-py3-none-any.whl",
    "a-1-cp311-cp311-macosx_11_0_arm64.whl",
    "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "a-1-cp311-cp311-manylinux_2_34_x86_64.whl",
    "a-1-cp311-cp311-manylinux_2_28_aarch64.whl",
    "a-1-cp39-abi3-manylinux_2_28_x86_64.whl",
    "a-1-cp312-cp312-manylinux_2_28_x86_64.whl",
    "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
]


@pytest.mark.parametrize(
    ("python", "platform", "glibc", "name"),
    [
        ("3.11.7", "linux-64", "2.28", NAMES[2]),
        ("3.11.7", "linux-64", "2.36", NAMES[3]),
        ("3.11.7", "linux-aarch64", "2.28", NAMES[4]),
        ("3.10.1", "linux-64", "2.28", NAMES[5]),
        ("3.10.1", "linux-64", "2.17", NAMES[0]),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_best_wheel_does_not_depend_on_the_order(
    python: str, platform: str, glibc: str, name: str, order: int
) -> None:
    assert best_wheel(NAMES[::order], python, platform, {"__glibc": glibc}) == name


def test_no_wheel_may_fit_and_odd_names_are_passed_over() -> None:
    assert best_wheel(["a-1-cp27-none-any.whl", "odd.whl"], "3.11.7", "linux-64", MACHINES) is None


def test_of_two_builds_the_higher_one_is_taken() -> None:
    assert best_wheel(["a-1-1-py3-none-any.whl", "a-1-2-py3-none-any.whl"], "3.11.7", "linux-64", MACHINES) == (
        "a-1-2-py3-none-any.whl"
    )


@pytest.mark.parametrize(("glibc", "name"), [("2.17", "2_17"), ("2.30", "2_28"), ("2.36", "2_36"), ("2.99", "2_40")])
def test_uv_is_told_the_glibc_that_the_machines_have(glibc: str, name: str) -> None:
    assert uv_platform("linux-64", {"__glibc": glibc}) == f"x86_64-manylinux_{name}"


@pytest.mark.parametrize(
    ("conda", "python"),
    [("2024a", "2024.1"), ("1.1.1w", "1.1.1"), ("9e", "9"), ("1.2.3", "1.2.3"), ("4.9.3.post1", "4.9.3.post1")],
)
def test_versions_of_conda_that_python_does_not_know(conda: str, python: str) -> None:
    assert pep440(conda) == python
