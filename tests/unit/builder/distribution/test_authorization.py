"""Challenges are read as RFC 9110 writes them; a secret goes to no realm without TLS."""

import pytest

from envbuild.builder.distribution.authorization import Authorization, Challenge, parse_challenge
from envbuild.builder.distribution.credentials import Credentials
from envbuild.errors import RegistryError


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="basic-realm"', Challenge("basic", {"realm": "basic-realm"})),
        (
            'Bearer realm="https://auth.test/token",service="reg",scope="repository:a:pull,push"',
            Challenge(
                "bearer", {"realm": "https://auth.test/token", "service": "reg", "scope": "repository:a:pull,push"}
            ),
        ),
        ("bearer realm=https://auth.test/token", Challenge("bearer", {"realm": "https://auth.test/token"})),
        (r'Bearer realm="a\"b"', Challenge("bearer", {"realm": 'a"b'})),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_a_challenge(header: str, expected: Challenge | None) -> None:
    assert parse_challenge(header) == expected


def authorization(realm: str, *, insecure: bool = False) -> Authorization:
    made = Authorization("registry.test", Credentials("f", "ann", "secret"), insecure=insecure, verify=True)
    made.refused(Challenge("bearer", {"realm": realm}), ("repository:a:pull",), None)
    return made


@pytest.mark.parametrize(
    "realm",
    ["https://[auth.test/token", "http://auth.test/token", "ftp://auth.test", "file:///etc/passwd", "", "token"],
)
def test_no_secret_goes_to_a_realm_without_tls(realm: str) -> None:
    with pytest.raises(RegistryError, match="no https address") as caught:
        authorization(realm).header(("repository:a:pull",))
    assert "secret" not in str(caught.value)


def test_basic_credentials_are_tried_once() -> None:
    made = Authorization("registry.test", Credentials("f", "ann", "secret"), insecure=False, verify=True)
    assert made.header(()) is None
    assert made.refused(Challenge("basic", {}), (), None)
    assert made.header(()) == "Basic YW5uOnNlY3JldA=="
    assert not made.refused(Challenge("basic", {}), (), made.header(()))


def test_of_two_threads_that_are_asked_at_once_both_try_their_credentials() -> None:
    made = Authorization("registry.test", Credentials("f", "ann", "secret"), insecure=False, verify=True)
    first, second = made.header(()), made.header(())
    assert made.refused(Challenge("basic", {}), (), first)
    assert made.refused(Challenge("basic", {}), (), second)


def test_what_a_registry_repeats_of_a_secret_is_masked() -> None:
    made = Authorization("registry.test", Credentials("f", "ann", "hunter2"), insecure=False, verify=True)
    assert made.clean("bad password hunter2 (YW5uOmh1bnRlcjI=)") == "bad password *** (***)"
