"""The bill of materials and the provenance: valid by their own schemas, complete, and the same every time."""

import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from packageurl import PackageURL

from envbuild.builder.attestations.contents import Content, base_contents, locked_contents
from envbuild.builder.attestations.provenance import make_provenance
from envbuild.builder.attestations.sbom import make_sbom
from envbuild.builder.lock import BuildRequirement, Built, LockedPackage
from envbuild.images.catalog import PinnedPackage

IMAGE = f"sha256:{'d' * 64}"
NUMPY = LockedPackage(
    "conda", "numpy", "2.1.0", "https://example.test/main/linux-64/numpy-2.1.0-py311_0.conda", "1" * 64,
    build="py311_0", subdir="linux-64", channel="main", depends=("python",),
)  # fmt: skip
PYTHON = LockedPackage(
    "conda", "python", "3.11.9", "file:///home/me/main/linux-64/python-3.11.9-h1_0.tar.bz2", "2" * 64,
    build="h1_0", subdir="linux-64", channel="main",
)  # fmt: skip
SIX = LockedPackage("pip", "six", "1.17.0", "https://example.test/six-1.17.0-py2.py3-none-any.whl", "3" * 64)
WHEEL = BuildRequirement("setuptools", "80.9.0", "https://example.test/setuptools-80.9.0-py3-none-any.whl", "9" * 64)
DOCOPT = LockedPackage(
    "pip", "docopt", "0.6.2", "https://example.test/docopt-0.6.2.tar.gz", "5" * 64,
    built=Built("docopt-0.6.2-py2.py3-none-any.whl", "6" * 64, (WHEEL,)),
)  # fmt: skip
FROM_GIT = LockedPackage(
    "pip", "fromgit", "2.0", f"git+https://example.test/fromgit.git@{'c' * 40}", "7" * 64,
    built=Built("fromgit-2.0-py3-none-any.whl", "8" * 64),
)  # fmt: skip
MINE = LockedPackage("pip", "mine", "1", "./mine", "a" * 64, built=Built("mine-1-py3-none-any.whl", "b" * 64))
BASH = PinnedPackage("bash", "5.2.15-2+b7", "amd64", 1000, "4" * 64)
LICENSES = {"1" * 64: "BSD-3-Clause", "2" * 64: "PSF-2.0", "3" * 64: "MIT License"}


def contents() -> list[Content]:
    return [*base_contents([BASH], "debian-bookworm"), *locked_contents([SIX, NUMPY, PYTHON], LICENSES)]


def sbom() -> bytes:
    return make_sbom("Small", IMAGE, 1700000000, {"spec_key": "sha256:k"}, contents())


def provenance() -> bytes:
    base = {"name": "debian12-minimal:1", "digest": f"sha256:{'b' * 64}"}
    build = {"packages": {"conda:numpy": "1" * 64}, "base": base["digest"], "prefix": "/opt/env", "packer_version": 1}
    return make_provenance("small", [IMAGE], {"dependencies": ["numpy"]}, build, base, contents())


def assert_valid(document: bytes) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode()) is None


def test_package_urls_name_every_kind_of_package() -> None:
    assert [each.purl for each in contents()] == [
        "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-bookworm",
        "pkg:conda/numpy@2.1.0?build=py311_0&channel=main&subdir=linux-64&type=conda",
        "pkg:conda/python@3.11.9?build=h1_0&channel=main&subdir=linux-64&type=tar.bz2",
        "pkg:pypi/six@1.17.0",
    ]


def test_the_bill_is_valid_cyclonedx() -> None:
    assert_valid(sbom())


def test_the_bill_is_the_same_every_time() -> None:
    assert sbom() == sbom()
    document = json.loads(sbom())
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert document["serialNumber"] == "urn:uuid:4084c467-7dd1-5fce-b5b2-34d7f464d628"


def test_the_bill_names_hashes_licences_and_what_needs_what() -> None:
    document = json.loads(sbom())
    by_name = {each["name"]: each for each in document["components"]}
    assert sorted(by_name) == ["bash", "numpy", "python", "six"]
    assert by_name["numpy"]["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert by_name["numpy"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert by_name["six"]["licenses"] == [{"license": {"name": "MIT License"}}]
    needs = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert needs[by_name["numpy"]["bom-ref"]] == [by_name["python"]["bom-ref"]]
    assert sorted(needs[IMAGE]) == sorted(by_name[name]["bom-ref"] for name in ("bash", "numpy", "six"))


def test_a_wheel_that_was_built_has_its_own_hash_and_its_source_beside_it() -> None:
    document = make_sbom("small", IMAGE, 0, {}, locked_contents([DOCOPT, FROM_GIT, MINE], {}))
    assert_valid(document)
    parts = {each["name"]: each for each in json.loads(document)["components"]}
    assert [parts[name]["hashes"][0]["content"] for name in ("docopt", "fromgit", "mine")] == [
        "5" * 64, "7" * 64, "a" * 64,
    ]  # fmt: skip
    assert parts["docopt"]["externalReferences"] == [
        {
            "type": "source-distribution",
            "url": "https://example.test/docopt-0.6.2.tar.gz",
            "hashes": [{"alg": "SHA-256", "content": "6" * 64}],
        }
    ]
    repository = f"git+https://example.test/fromgit.git@{'c' * 40}"
    assert parts["fromgit"]["externalReferences"] == [{"type": "vcs", "url": repository}]
    assert PackageURL.from_string(parts["fromgit"]["purl"]).qualifiers == {"vcs_url": repository}
    assert (parts["mine"]["purl"], "externalReferences" in parts["mine"]) == ("pkg:generic/mine@1", False)
    said = {name: {each["name"]: each["value"] for each in parts[name]["properties"]} for name in parts}
    assert said == {
        "docopt": {"dev.envbuild.built-from": "sdist"},
        "fromgit": {"dev.envbuild.built-from": "git", "dev.envbuild.source-content-sha256": "8" * 64},
        "mine": {"dev.envbuild.built-from": "folder", "dev.envbuild.source-content-sha256": "b" * 64},
    }


def test_a_source_of_this_machine_is_known_by_its_hash_alone() -> None:
    local = replace(DOCOPT, url="file:///home/me/docopt-0.6.2.tar.gz")
    git = replace(FROM_GIT, url=f"git+file:///home/me/fromgit@{'c' * 40}")
    document = make_sbom("small", IMAGE, 0, {}, locked_contents([local, git], {}))
    assert_valid(document)
    assert b"/home/me" not in document and b"dev.envbuild.source-sha256" in document


def test_the_provenance_names_the_source_and_what_the_build_had() -> None:
    base = {"name": "debian12-minimal:1", "digest": f"sha256:{'b' * 64}"}
    document = make_provenance("small", [IMAGE], {}, {}, base, locked_contents([DOCOPT, FROM_GIT, MINE], {}))
    statement = json_format.ParseDict(json.loads(document), statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    found = json.loads(document)["predicate"]["buildDefinition"]["resolvedDependencies"][1:]
    assert [(each["name"], each["annotations"]["role"], each["digest"]) for each in found] == [
        ("docopt", "built wheel", {"sha256": "5" * 64}),
        ("docopt", "source", {"sha256": "6" * 64}),
        ("setuptools", "build requirement", {"sha256": "9" * 64}),
        ("fromgit", "built wheel", {"sha256": "7" * 64}),
        ("fromgit", "source", {"gitCommit": "c" * 40}),
        ("mine", "built wheel", {"sha256": "a" * 64}),
    ]


def test_no_folder_of_the_building_machine_is_named() -> None:
    assert b"/home/me" not in sbom() + provenance()
    assert b"https://example.test/main/linux-64/numpy-2.1.0-py311_0.conda" in sbom()


@settings(max_examples=60, deadline=None)
@given(name=st.text(min_size=1, max_size=20), license=st.text(max_size=30), version=st.text(min_size=1, max_size=10))
def test_whatever_a_package_says_of_itself_the_bill_is_valid(name: str, license: str, version: str) -> None:
    content = Content("conda", name, version, "pkg:conda/x@1", "1" * 64, license=license)
    assert_valid(make_sbom("small", IMAGE, 0, {}, [content]))


def test_the_provenance_is_a_valid_statement_with_a_valid_predicate() -> None:
    document = json.loads(provenance())
    statement = json_format.ParseDict(document, statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    predicate = json_format.ParseDict(document["predicate"], provenance_pb2.Provenance())
    build = predicate.build_definition
    assert build.build_type == "https://envbuild.dev/build/v1"
    assert [each.name for each in build.resolved_dependencies] == [
        "debian12-minimal:1", "bash", "numpy", "python", "six",
    ]  # fmt: skip
    assert build.resolved_dependencies[2].digest["sha256"] == "1" * 64
    assert dict(statement.subject[0].digest) == {"sha256": "d" * 64}


def test_the_provenance_is_the_same_every_time_and_has_no_time() -> None:
    assert provenance() == provenance()
    assert "metadata" not in json.loads(provenance())["predicate"]["runDetails"]


@pytest.mark.parametrize("field", ["externalParameters", "internalParameters"])
def test_the_provenance_says_what_was_asked_and_what_was_decided(field: str) -> None:
    definition = json.loads(provenance())["predicate"]["buildDefinition"]
    assert (
        definition[field]
        == {
            "externalParameters": {"dependencies": ["numpy"]},
            "internalParameters": {"prefix": "/opt/env", "packer_version": 1},
        }[field]
    )
