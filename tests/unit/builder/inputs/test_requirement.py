"""One requirement of pip: every form, one spelling, and the spelling reads back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.inputs.requirement import Requirement, parse_requirement

SHA = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Six >=1 , <2", "six<2,>=1"),
        ("ruamel.yaml", "ruamel-yaml"),
        ("uvicorn[Standard,http2]>=0.2", "uvicorn[http2,standard]>=0.2"),
        ("six; python_version<'3'", 'six ; python_version < "3"'),
        (f"six==1.16.0 --hash=sha256:{SHA}", f"six==1.16.0 --hash=sha256:{SHA}"),
        ("git+https://h.test/a.git", "git+https://h.test/a.git"),
        ("git+https://h.test/a.git@v1#egg=A_b&subdirectory=py", "a-b @ git+https://h.test/a.git@v1#subdirectory=py"),
        ("a @ git+ssh://git@h.test/a.git@main", "a @ git+ssh://git@h.test/a.git@main"),
        ("https://h.test/six-1.16.0-py2.py3-none-any.whl", "six @ https://h.test/six-1.16.0-py2.py3-none-any.whl"),
        (f"https://h.test/a-1.tar.gz#sha256={SHA}", f"https://h.test/a-1.tar.gz --hash=sha256:{SHA}"),
        ("./mine[dev]", "./mine[dev]"),
        ("mine/", "./mine"),
        (".", "."),
        ("../lib/x-1.tar.gz", "../lib/x-1.tar.gz"),
        ("file:./mine", "./mine"),
        ("mine @ ./mine", "mine @ ./mine"),
    ],
)
def test_every_form(written: str, canonical: str) -> None:
    assert parse_requirement(written).line == canonical
    assert parse_requirement(canonical).line == canonical


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("six=1", "compares with ==, not ="),
        ("six --install-option=x", "--install-option after a requirement is not supported"),
        ("six==1 --hash=md5:abc", "no hash that protects"),
        ("svn+https://h.test/a", "only git is supported"),
        ("git@h.test:a/b.git", "write it as git\\+https"),
        ("ftp://h.test/a.tar.gz", "the scheme ftp is unknown"),
        ("/opt/mine", "a path of one machine"),
        ("file:///opt/mine", "a path of one machine"),
        ("a b c", "no requirement that pip knows"),
    ],
)
def test_what_is_no_requirement_is_one_sentence(written: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_requirement(written)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_a_requirement_that_reads_back_or_a_sentence(text: str) -> None:
    try:
        found = parse_requirement(text)
    except ValueError as error:
        assert str(error)
        return
    assert isinstance(found, Requirement)
    assert parse_requirement(found.line).line == found.line
