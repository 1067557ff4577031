"""References are read strictly: nothing is assumed."""

import pytest

from envbuild.builder.distribution.reference import Reference, is_loopback, parse_reference
from envbuild.errors import InputError

DIGEST = f"sha256:{'a1' * 32}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.test/team/env", Reference("registry.test", "team/env")),
        ("registry.test:5000/env:1.0", Reference("registry.test:5000", "env", "1.0")),
        ("localhost/env:latest", Reference("localhost", "env", "latest")),
        ("[::1]:5000/a/b/c:x", Reference("[::1]:5000", "a/b/c", "x")),
        (f"registry.test/env@{DIGEST}", Reference("registry.test", "env", "", DIGEST)),
        (f"registry.test/env:1@{DIGEST}", Reference("registry.test", "env", "1", DIGEST)),
    ],
)
def test_the_parts_of_a_reference(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ubuntu", "does not begin with a registry"),
        ("team/env", "does not begin with a registry"),
        ("debian:12", "or docker.io/library/debian:12 for one on Docker Hub"),
        ("https://registry.test/env", "is a URL; write REGISTRY/REPOSITORY, without https://"),
        ("registry.test:5000", "names no repository; write registry.test:5000/REPOSITORY"),
        (f"registry.test/{'a' * 242}", "is too long: at most 255 characters"),
        ("user:secret@registry.test/env", "does not begin with a registry"),
        ("registry.test/", "is no repository"),
        ("registry.test/Team/env", "lower-case letters"),
        ("registry.test/a//b", "is no repository"),
        ("registry.test/../etc", "is no repository"),
        ("registry.test:99999/env", "has no port of a machine: at most 65535"),
        ("[::1]:65536/env", "has no port of a machine"),
        ("registry.test/env:", "is no tag"),
        ("registry.test/env:a b", "is no tag"),
        ("registry.test/env@sha256:12", "is no digest"),
        ("registry.test/env@md5:12", "is no digest"),
    ],
)
def test_what_is_no_reference_says_what_was_expected(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_reference(text)


@pytest.mark.parametrize("registry", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.0.1", "[::1]:5000"])
def test_this_machines_own_addresses_may_speak_plain_http(registry: str) -> None:
    assert is_loopback(registry)


@pytest.mark.parametrize("registry", ["registry.test", "10.0.0.1:5000", "127.0.0.1.evil.test", "localhost.evil.test"])
def test_no_other_address_may(registry: str) -> None:
    assert not is_loopback(registry)
