"""A wheel's requirements in conda's words."""

from email.message import Message

import pytest

from envbuild.builder.channel.wheel import conda_requirements, conda_versions


def metadata(*requirements: str) -> Message:
    message = Message()
    for requirement in requirements:
        message["Requires-Dist"] = requirement
    return message


@pytest.mark.parametrize(
    ("pep440", "conda"),
    [
        ("", ""),
        (">=1.0", ">=1.0"),
        ("<2,>=1", "<2,>=1"),
        ("~=1.4.2", ">=1.4.2,1.4.*"),
        ("==1.4.*", "1.4.*"),
        ("===1.4", "==1.4"),
        ("!=8.3.*,>=5.3.0", "!=8.3.*,>=5.3.0"),
        ("==2.13.0+cpu", "==2.13.0"),
    ],
)
def test_version_specifiers(pep440: str, conda: str) -> None:
    assert conda_versions(pep440) == conda


def test_names_are_the_recipes() -> None:
    found = conda_requirements(metadata("torch (==2.13.0)", "Typing-Extensions>=4"), {"torch": "pytorch"}, "3.11.7")
    assert found == ("pytorch ==2.13.0", "typing-extensions >=4")


def test_markers_are_evaluated_for_the_channels_python() -> None:
    lines = metadata('old; python_version < "3.10"', 'new; python_version >= "3.10"', 'win; sys_platform == "win32"')
    assert conda_requirements(lines, {}, "3.9.1") == ("old",)
    assert conda_requirements(lines, {}, "3.11.7") == ("new",)


def test_extras_and_dropped_requirements_are_left_out() -> None:
    lines = metadata('scipy; extra == "scipy"', "gdown>=4", "numpy")
    assert conda_requirements(lines, {}, "3.11.7", drop=("gdown",)) == ("numpy",)
