"""A recipe is read whole or refused in one sentence that names the entry and the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.builder.channel.recipe import PackageRecipe, Patch, parse_recipe
from envbuild.errors import RecipeError

PYTHON = '[python]\nversion = "3.11"\n'


def test_an_entry_is_a_pin_and_takes_its_conda_name_from_pypi() -> None:
    recipe = parse_recipe(PYTHON + '[[package]]\nwheel = "Typing_Extensions==4.1"\n', "channel.toml")
    assert recipe.packages == (PackageRecipe("typing-extensions", "4.1", "typing-extensions"),)


def test_packages_are_sorted_by_their_conda_name() -> None:
    text = PYTHON + '[[package]]\nwheel = "torch==2.0+cpu"\nname = "pytorch"\n[[package]]\nwheel = "numpy==2.2.6"\n'
    recipe = parse_recipe(text, "channel.toml")
    assert [package.requirement for package in recipe.packages] == ["numpy==2.2.6", "torch==2.0+cpu"]
    assert recipe.conda_names == {"numpy": "numpy", "torch": "pytorch"}


def test_a_patch_is_data() -> None:
    text = PYTHON + (
        '[[package]]\nwheel = "a==1"\n[package.patch]\nfiles = ["a/_C.so"]\nremove-needed = ["libx.so"]\n'
        'replace-needed = { "liby.so" = "a.libs/liby*" }\nrpath = "$ORIGIN"\nweaken = "^cuda"\n'
    )
    (package,) = parse_recipe(text, "channel.toml").packages
    assert package.patch == Patch(("a/_C.so",), ("libx.so",), (("liby.so", "a.libs/liby*"),), "$ORIGIN", "^cuda")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[python", "channel.toml is not valid TOML"),
        ("", r'channel.toml: a \[python\] table with version = "3.11"'),
        ('[python]\nversion = "3.11.2"\n', r'version = "3.11.2" must be a major and minor version'),
        (PYTHON + "[packages]\n", "channel.toml: unknown key packages; did you mean package?"),
        (PYTHON + "[package]\n", r"packages are written as \[\[package\]\]"),
        (PYTHON + "[[package]]\n", "has no wheel"),
        (PYTHON + '[[package]]\nwheel = "a>=1"\n', "package a>=1: wheel must be an exact pin"),
        (PYTHON + '[[package]]\nwheel = "a==1.*"\n', "wheel must be an exact pin"),
        (
            PYTHON + '[[package]]\nwheel = "a==1"\nexlude = []\n',
            "package a==1: unknown key exlude; did you mean exclude?",
        ),
        (PYTHON + '[[package]]\nwheel = "a==1"\nexclude = "x"\n', "exclude must be a list of texts, not 'x'"),
        (PYTHON + '[[package]]\nwheel = "a==1"\nexclude = ["("]\n', "is not a regular expression"),
        (PYTHON + '[[package]]\nwheel = "a==1"\n[package.patch]\n', "files names the libraries to change"),
        (PYTHON + '[[package]]\nwheel = "a==1"\n[[package]]\nwheel = "A==2"\n', "a is there twice"),
    ],
)
def test_a_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text, "channel.toml")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(PYTHON + '[[package]]\nwheel = "' + text, "channel.toml")  # the closing quote may be in the text
        raise RecipeError
