"""Why one environment is not another, in lines that a person understands."""

import hashlib
from typing import Any

import pytest

from envbuild.builder.lock import Lock, LockedPackage
from envbuild.registry.changes import (
    Change,
    across_platforms,
    identity_changes,
    package_changes,
    platform_changes,
    request_changes,
    summary,
)

REQUEST: dict[str, Any] = {
    "channels": ["conda-forge", "defaults"],
    "dependencies": ["numpy ==2.1.0", "python 3.11.*"],
    "pip": ["--pre", "requests>=2", "six==1.17"],
    "variables": {"MODE": "fast"},
    "steering": {
        "platforms": ["linux-64"],
        "virtual_packages": {"linux-64": {"__glibc": "2.28"}},
        "channels": {},
        "pip": ["", "links"],
    },
}


def locked(name: str, version: str, build: str = "0", channel: str = "main", sha256: str = "") -> LockedPackage:
    url = f"https://example.test/{channel}/linux-64/{name}-{version}-{build}.conda"
    sha256 = sha256 or hashlib.sha256(url.encode()).hexdigest()
    return LockedPackage("conda", name, version, url, sha256, build=build, subdir="linux-64", channel=channel)


def lock(*packages: LockedPackage) -> Lock:
    return Lock("linux-64", ("main",), packages)


def test_equal_requests_have_no_changes() -> None:
    assert request_changes(REQUEST, REQUEST) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"dependencies": ["numpy ==2.2.0", "python 3.11.*"]}, "numpy ==2.1.0 -> ==2.2.0"),
        ({"dependencies": ["numpy", "python 3.11.*"]}, "numpy ==2.1.0 -> any version"),
        ({"dependencies": ["python 3.11.*"]}, "- numpy ==2.1.0"),
        ({"dependencies": ["main::numpy ==2.1.0", "python 3.11.*"]}, "numpy ==2.1.0 -> main::==2.1.0"),
        ({"channels": ["defaults", "conda-forge"]},
         "channel order changed: conda-forge, defaults -> defaults, conda-forge"),
        ({"channels": ["conda-forge"]}, "- channel defaults"),
        ({"channels": ["conda-forge", "defaults", "mine"]}, "+ channel mine"),
        ({"pip": ["--pre", "requests>=2", "six==1.16"]}, "six ==1.17 -> ==1.16"),
        ({"pip": ["--pre", "requests>=2", "six==1.17", "jinja2"]}, "+ jinja2"),
        ({"pip": ["requests>=2", "six==1.17"]}, "- --pre"),
        ({"variables": {"MODE": "slow"}}, "variable MODE fast -> slow"),
        ({"variables": {}}, "- variable MODE fast"),
        ({"steering": {**REQUEST["steering"], "virtual_packages": {"linux-64": {"__glibc": "2.36"}}}},
         "virtual package __glibc 2.28 -> 2.36"),
        ({"steering": {**REQUEST["steering"], "channels": {"defaults": "https://mirror.test"}}},
         "+ channel mapping defaults https://mirror.test"),
        ({"steering": {**REQUEST["steering"], "platforms": ["linux-aarch64"]}}, "platform linux-64 -> linux-aarch64"),
        ({"steering": {**REQUEST["steering"], "platforms": ["linux-64", "linux-aarch64"]}},
         "+ platform linux-aarch64"),
        ({"steering": {**REQUEST["steering"], "pip": ["https://a.test", "links"]}}, "pip index none -> https://a.test"),
        ({"steering": {**REQUEST["steering"], "pip": ["", "https://b.test", "links"]}},
         "pip extra indexes none -> https://b.test"),
        ({"steering": {**REQUEST["steering"], "pip": ["", "links", "wheels"]}}, "pip find-links none -> wheels"),
        ({"contents": {"lib": "sha256:1"}}, "+ the content of lib sha256:1"),
    ],
)  # fmt: skip
def test_every_ingredient_of_a_request_is_named(change: dict[str, Any], line: str) -> None:
    assert [each.line for each in request_changes(REQUEST, {**REQUEST, **change})] == [line]


@pytest.mark.parametrize(
    ("aarch64", "line"),
    [
        ("2.28", "linux-64: virtual package __glibc 2.28 -> 2.36"),
        ("2.36", "virtual package __glibc 2.28 -> 2.36"),
    ],
)
def test_what_the_machines_of_one_platform_have_is_said_of_it(aarch64: str, line: str) -> None:
    before = {"virtual_packages": {"linux-64": {"__glibc": "2.28"}, "linux-aarch64": {"__glibc": "2.28"}}}
    after = {"virtual_packages": {"linux-64": {"__glibc": "2.36"}, "linux-aarch64": {"__glibc": aarch64}}}
    assert [each.line for each in request_changes({"steering": before}, {"steering": after})] == [line]


def test_a_lock_and_a_request_are_told_apart() -> None:
    lock_request = {"locks": {"linux-64": "sha256:1"}}
    assert [each.line for each in request_changes(REQUEST, lock_request)] == [
        "a lock decides every package; before, it was a request that was solved"
    ]
    assert [each.line for each in request_changes(lock_request, REQUEST)] == [
        "a request that is solved; before, a lock decided every package"
    ]
    two = {"locks": {"linux-64": "sha256:2", "linux-aarch64": "sha256:3"}}
    assert [each.line for each in request_changes(lock_request, two)] == [
        "+ platform linux-aarch64",
        "linux-64: another lock",
    ]


def test_what_all_platforms_share_is_said_once() -> None:
    shared, own = Change("packages", "a 1 -> 2"), Change("packages", "+ b 1")
    found = across_platforms({"linux-64": [shared, own], "linux-aarch64": [shared]})
    assert [each.line for each in found] == ["a 1 -> 2", "linux-64: + b 1"]
    assert [each.line for each in across_platforms({"linux-64": [shared, own]})] == ["a 1 -> 2", "+ b 1"]
    three = across_platforms({"linux-64": [own], "linux-aarch64": [own], "linux-ppc64le": []})
    assert [each.line for each in three] == ["linux-64, linux-aarch64: + b 1"]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (("linux-64",), ("linux-64",), []),
        (("linux-64",), ("linux-aarch64",), ["platform linux-64 -> linux-aarch64"]),
        (("linux-64",), ("linux-64", "linux-aarch64"), ["+ platform linux-aarch64"]),
        (("linux-64", "linux-aarch64"), ("linux-aarch64",), ["- platform linux-64"]),
        (
            ("linux-64", "linux-aarch64"),
            ("linux-aarch64", "linux-64"),
            ["platform order changed: linux-64, linux-aarch64 -> linux-aarch64, linux-64"],
        ),
    ],
)
def test_platforms_come_and_go(before: tuple[str, ...], after: tuple[str, ...], lines: list[str]) -> None:
    assert [each.line for each in platform_changes(before, after)] == lines


def test_a_changed_line_says_where_it_stands() -> None:
    after = {**REQUEST, "dependencies": ["numpy ==2.2.0", "python 3.11.*"]}
    places = {("dependencies", "numpy ==2.2.0"): "environment.yml:5"}
    assert [each.line for each in request_changes(REQUEST, after, places)] == [
        "environment.yml:5: numpy ==2.1.0 -> ==2.2.0"
    ]


def test_a_requirement_with_two_markers_is_two_lines() -> None:
    before = {"pip": ["six==1.16; python_version < '3.9'", "six==1.17; python_version >= '3.9'"]}
    after = {"pip": ["six==1.16; python_version < '3.9'", "six==1.18; python_version >= '3.9'"]}
    assert [each.text for each in request_changes(before, after)] == [
        "- six==1.17; python_version >= '3.9'",
        "+ six==1.18; python_version >= '3.9'",
    ]


def test_packages_differ_in_version_build_or_channel() -> None:
    before = lock(locked("a", "1"), locked("b", "1", "h1"), locked("c", "1", channel="main"), locked("gone", "1"))
    after = lock(locked("a", "2"), locked("b", "1", "h2"), locked("c", "1", channel="forge"), locked("new", "3"))
    assert package_changes(before, after).lines == [
        "a 1 -> 2",
        "b 1 build h1 -> h2",
        "c 1 from main -> from forge",
        "+ new 3",
        "- gone 1",
    ]


def test_a_package_that_pip_brings_now_is_one_line() -> None:
    of_pip = LockedPackage("pip", "jinja2", "3.1.6", "https://example.test/jinja2-3.1.6-py3-none-any.whl", "f" * 64)
    before, after = lock(locked("jinja2", "3.1.6"), locked("zlib", "1")), lock(of_pip, locked("bzip2", "1"))
    assert package_changes(before, after).lines == [
        "jinja2 3.1.6 of conda -> 3.1.6 of pip",
        "+ bzip2 1",
        "- zlib 1",
    ]


def test_a_package_replaced_under_its_own_name_is_seen() -> None:
    before, after = lock(locked("a", "1", sha256="1" * 64)), lock(locked("a", "1", sha256="2" * 64))
    assert package_changes(before, after).lines == ["a 1 sha256 111111111111 -> 222222222222"]


def test_what_envbuild_adds_is_named_too() -> None:
    before = {"packages": {}, "base": "sha256:" + "1" * 64, "packer_version": 1, "prefix": "/opt/env", "variables": {}}
    after = {**before, "base": "sha256:" + "2" * 64, "packer_version": 2, "variables": {"A": "1"}}
    none = package_changes(lock(), lock())
    assert [each.line for each in identity_changes(before, after, none, ("debian:1", "debian:2"))] == [
        "+ variable A 1",
        "base debian:1 -> debian:2",
        "packer version 1 -> 2",
    ]
    assert [
        each.line for each in identity_changes({"base": before["base"]}, {"base": after["base"]}, none, ("d", "d"))
    ] == ["base d sha256:111111111111 -> sha256:222222222222"]


def test_a_summary_is_one_line() -> None:
    changes = [Change("packages", f"p{number} 1 -> 2") for number in range(5)]
    assert summary(changes) == "p0 1 -> 2, p1 1 -> 2, p2 1 -> 2 and 2 more changes"
    assert summary(changes[:1]) == "p0 1 -> 2"
