"""A package with links that lead nowhere, as editors and old builds leave them: it is packed like any other."""

import asyncio
from pathlib import Path

from harness import Project

from envbuild.builder.channel.conda_package import Package, write_package


def test_a_source_that_is_a_link_to_nothing_stops_no_build(project: Project, channel: Path) -> None:
    from rattler.index import index_fs

    tree = project.folder / "tree"
    (tree / "site-packages/linky").mkdir(parents=True)
    (tree / "site-packages/linky/__init__.py").write_text("NAME = 'linky'\n")
    (tree / "site-packages/linky/.#edited.py").symlink_to("ann@host.1234:1700000000")
    (tree / "site-packages/linky/folder.py").symlink_to("../linky")
    package = Package("linky", "1.0", "py_0", "noarch", ("python",), noarch="python")
    write_package(package, tree, project.folder / "channel", int)
    asyncio.run(index_fs(project.folder / "channel", write_zst=False, write_shards=False))
    project.write(
        "envbuild.toml",
        f'[channels]\ndefaults = "{channel.as_uri()}"\nlinks = "channel"\n'
        '[virtual-packages]\nlinux-64 = { __glibc = "2.36" }\n',
    )
    project.write("linky.yml", "name: linky\nchannels: [links, defaults]\ndependencies: [python=3.11, linky]\n")
    done = project.envbuild("register", "linky.yml")
    assert done.returncode == 0, done.stderr
    (source,) = (project.home / "trees").glob("*/opt/env/lib/python3.11/site-packages/linky/__init__.py")
    assert [each.name for each in (source.parent / "__pycache__").iterdir()] == ["__init__.cpython-311.pyc"]
