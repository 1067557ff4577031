"""A channel is built twice, comes out the same, and a conda client that no one here wrote installs from it."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from harness import wait_for

from envbuild.builder.channel.build import build_channel
from envbuild.builder.channel.download import download_wheels
from envbuild.builder.channel.recipe import PackageRecipe
from envbuild.builder.report import Silent
from envbuild.errors import FetchError

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = ["markupsafe==3.0.2", "jinja2==3.1.6", "pygments==2.19.2"]
RECIPE = f'[python]\nversion = "{VERSION}"\n' + "".join(f'[[package]]\nwheel = "{pin}"\n' for pin in PACKAGES)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel")
    (folder / "channel.toml").write_text(RECIPE)
    report = build_channel(folder / "channel.toml", folder / "one", Silent())
    assert {"python", "python_abi", "markupsafe", "jinja2", "pygments"} <= set(report.built)
    return folder


def content(channel: Path) -> dict[str, bytes]:
    files = [path for path in channel.rglob("*") if path.is_file() and ".envbuild" not in path.parts]
    return {path.relative_to(channel).as_posix(): path.read_bytes() for path in files}


def records(channel: Path) -> dict[str, dict[str, object]]:
    found = {}
    for file in channel.glob("*/repodata.json"):
        found.update({each["name"]: each for each in json.loads(file.read_text())["packages.conda"].values()})
    return found


def test_two_builds_are_byte_identical(channel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(channel / "one" / ".envbuild" / "wheels", channel / "two" / ".envbuild" / "wheels")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    old = os.umask(0o077)
    try:
        build_channel(channel / "channel.toml", channel / "two", Silent())
    finally:
        os.umask(old)
    assert content(channel / "one") == content(channel / "two")


def test_a_second_build_reuses_everything(channel: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (channel / "one").rglob("*.conda")}
    report = build_channel(channel / "channel.toml", channel / "one", Silent())
    assert report.built == ()
    assert "python" in report.reused
    assert before
    assert {path: path.stat().st_mtime_ns for path in (channel / "one").rglob("*.conda")} == before


def test_an_interrupted_build_leaves_no_half_package(channel: Path, tmp_path: Path) -> None:
    shutil.copytree(channel / "one" / ".envbuild" / "wheels", tmp_path / "out" / ".envbuild" / "wheels")
    code = "from envbuild.cli import main; main()"
    out = tmp_path / "out" / ".envbuild"
    command = [sys.executable, "-c", code, "channel", "build", channel / "channel.toml", tmp_path / "out"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        wait_for(lambda: process.poll() is not None or any(out.glob(".tmp-*")), pause=0.01)
        with suppress(ProcessLookupError):  # it was quicker than we looked
            os.killpg(process.pid, signal.SIGKILL)
    build_channel(channel / "channel.toml", tmp_path / "out", Silent())
    assert content(tmp_path / "out") == content(channel / "one")
    assert not list(tmp_path.rglob(".tmp-*"))


def test_packages_say_what_they_are(channel: Path) -> None:
    found = records(channel / "one")
    assert found["jinja2"]["noarch"] == "python"
    assert found["jinja2"]["purls"] == ["pkg:pypi/jinja2"]
    assert "markupsafe >=2.0" in found["jinja2"]["depends"]  # type: ignore[operator]
    assert found["markupsafe"]["subdir"] == found["python"]["subdir"]
    assert f"python_abi {VERSION}.* *_cp{VERSION.replace('.', '')}" in found["markupsafe"]["depends"]  # type: ignore[operator]


def test_rattler_installs_and_the_environment_runs(channel: Path, tmp_path: Path) -> None:
    import rattler

    async def install() -> None:
        packages = await rattler.solve(
            [(channel / "one").as_uri()],
            ["python", "jinja2", "pygments"],
            virtual_packages=rattler.VirtualPackage.detect(),
            platforms=[str(rattler.Subdir.current()), "noarch"],
        )
        await rattler.install(
            packages, target_prefix=tmp_path / "env", cache_dir=tmp_path / "cache", show_progress=False
        )

    asyncio.run(install())
    time.sleep(0.1)
    prefix = tmp_path / "env"
    code = "import jinja2, markupsafe._speedups, ssl, sys; print(jinja2.Template('{{ a }}').render(a=1), sys.prefix)"
    done = subprocess.run([prefix / "bin" / "python", "-c", code], capture_output=True, text=True, env={})
    assert (done.stdout, done.stderr) == (f"1 {prefix}\n", "")
    script = subprocess.run([prefix / "bin" / "pygmentize", "-V"], capture_output=True, text=True, env={})
    assert script.stdout.startswith("Pygments version 2.19.2")
    tag = sys.implementation.cache_tag
    compiled = (
        prefix / "lib" / f"python{VERSION}" / "site-packages" / "markupsafe" / "__pycache__" / f"__init__.{tag}.pyc"
    )
    assert compiled.read_bytes()[4:8] == b"\x01\0\0\0"  # PEP 552: hash-based, unchecked


def test_a_package_that_left_the_recipe_leaves_the_channel(channel: Path, tmp_path: Path) -> None:
    shutil.copytree(channel / "one", tmp_path / "copy", symlinks=True)
    (tmp_path / "channel.toml").write_text(RECIPE.replace('[[package]]\nwheel = "pygments==2.19.2"\n', ""))
    report = build_channel(tmp_path / "channel.toml", tmp_path / "copy", Silent())
    assert (report.built, report.removed) == ((), ("pygments",))
    assert "pygments" not in records(tmp_path / "copy")


def test_a_version_that_no_source_has_is_named(channel: Path, tmp_path: Path) -> None:
    (tmp_path / "channel.toml").write_text(
        f'[python]\nversion = "{VERSION}"\n[[package]]\nwheel = "pygments==0.0.99"\n'
    )
    with pytest.raises(FetchError, match=r"no wheel of pygments==0\.0\.99 for Python .* in pip's own sources"):
        build_channel(tmp_path / "channel.toml", tmp_path / "out", Silent())


def test_a_further_source_is_asked_when_pips_own_have_not_got_it(tmp_path: Path) -> None:
    index = tmp_path / "simple" / "envbuild-source-test"
    index.mkdir(parents=True)
    info = "envbuild_source_test-1.0+here.dist-info"
    with zipfile.ZipFile(index / "envbuild_source_test-1.0+here-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: envbuild-source-test\nVersion: 1.0+here\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (index / "index.html").write_text(f'<a href="{next(index.glob("*.whl")).name}">wheel</a>')
    source = (tmp_path / "simple").as_uri()
    package = PackageRecipe("envbuild-source-test", "1.0+here", "envbuild-source-test", sources=(source,))
    found = download_wheels([package], VERSION, tmp_path / "wheels", Silent())
    assert found["envbuild-source-test"].name == "envbuild_source_test-1.0+here-py3-none-any.whl"
