"""The CPython of this machine as relocatable conda packages: python, python_abi, and the compiler's runtime libraries.

What goes in: the interpreter, the standard library without its tests, IDLE and Tk, the headers, and every shared
library they load that is not glibc's, found by `$ORIGIN`. `libgcc` and `libstdcxx` are packages of their own, as in
conda's channels, because wheels with compiled code load them too.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import EnvbuildError, PackageError, RecipeError

from . import elf
from .conda_package import PLACEHOLDER, Package, write_package

_GLIBC = re.compile(r"^(linux-vdso|ld-linux[-\w]*|lib(c|m|pthread|dl|rt|util|resolv|anl))\.so")
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip"}
_LEFT_OUT |= {"__pycache__", "EXTERNALLY-MANAGED"}  # an environment is pip's to change (PEP 668 keeps it off Debian's)
_LEFT_OUT_MODULE = re.compile(r"^(_tkinter|_dbm|_gdbm|nis|_test\w*|_ctypes_test|_xx\w*|xx\w*)\.")
_LEFT_OUT_FILE = (".a", ".o", ".pyc", ".exe")
_FILES_PER_COMPILER = 400


@dataclass(frozen=True)
class CPython:
    """The interpreter that is packaged, and for which wheels are packaged."""

    prefix: Path
    executable: Path
    version: str
    """Full: `3.11.7`."""

    @property
    def short(self) -> str:
        """`3.11`"""
        return ".".join(self.version.split(".")[:2])

    @property
    def tag(self) -> str:
        """`311`, as in `cp311`."""
        return self.short.replace(".", "")

    @property
    def site_packages(self) -> str:
        """Where packages with compiled code go, from the prefix."""
        return f"lib/python{self.short}/site-packages"

    @property
    def identity(self) -> str:
        """Changes when this machine's Python is replaced; costs two `stat` calls."""
        stat = self.executable.stat()
        return f"{self.version} {self.prefix} {stat.st_size} {stat.st_mtime_ns}"


def find_cpython(version: str) -> CPython:
    """The CPython `version` (`3.11`) that runs this, or else the one on the PATH. A virtual environment's is its base.

    Raises:
        RecipeError: there is none.
    """
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return CPython(Path(sys.base_prefix), _executable(Path(sys.base_prefix), version), platform.python_version())
    program = shutil.which(f"python{version}")
    if not program:
        raise RecipeError(
            f"the recipe asks for Python {version}, this is {platform.python_version()} and there is no "
            f"python{version} on the PATH; install it, or change [python] version"
        )
    ask = "import json, platform, sys; print(json.dumps([sys.base_prefix, platform.python_version()]))"
    done = subprocess.run([program, "-c", ask], capture_output=True, text=True)
    if done.returncode:
        raise RecipeError(f"{program} does not run: {done.stderr.strip()}")
    prefix, full = json.loads(done.stdout)
    return CPython(Path(prefix), _executable(Path(prefix), version), full)


def subdir() -> str:
    """The conda name of this machine's platform.

    Raises:
        EnvbuildError: it is not a Linux that a channel can be built on.
    """
    known = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
    if not sys.platform.startswith("linux") or platform.machine() not in known:
        raise EnvbuildError(
            f"a channel is built on Linux on x86_64 or aarch64; this is {platform.system()} on {platform.machine()}"
        )
    return known[platform.machine()]


def build_python(python: CPython, tree: Path, channel: Path, advance: Callable[[int], None]) -> Path:
    """Stage the interpreter in the empty folder `tree` and pack it.

    Raises:
        PackageError: a library that it loads is not there.
    """
    libraries = _stage(python, tree)
    files = [path for path in sorted(tree.rglob("*")) if elf.is_elf(path)]
    for file in files:
        _strip(file)
        up = os.path.relpath(tree / "lib", file.parent)
        elf.patchelf("--force-rpath", "--set-rpath", "$ORIGIN" if up == "." else f"$ORIGIN/{up}", file)
    _replace_prefix(python, tree)
    _undo_debian(tree / "lib" / f"python{python.short}")
    compile_sources(python, tree, f"lib/python{python.short}", ())
    package = Package(
        name="python",
        version=python.version,
        build="{hash}_0_cpython",
        subdir=subdir(),
        depends=(elf.glibc_requirement(files), *sorted(_runtime_packages(libraries))),
        constrains=(f"python_abi {python.short}.* *_cp{python.tag}",),
        license="Python-2.0",
        summary="General purpose programming language",
    )
    return write_package(package, tree, channel, advance)


def build_python_abi(python: CPython, tree: Path, channel: Path) -> Path:
    """Pack the empty package that ties compiled packages to one minor version of Python."""
    package = Package(
        name="python_abi",
        version=python.short,
        build=f"0_cp{python.tag}",
        subdir="noarch",
        noarch="generic",
        constrains=(f"python {python.short}.* *_cpython",),
        summary="Metapackage to select the Python ABI",
    )
    return write_package(package, tree, channel, lambda amount: None)


def find_runtime(name: str) -> Path:
    """The file of the runtime library package `name` (`libgcc`, `libstdcxx`) on this machine.

    Raises:
        PackageError: it is not there.
    """
    soname = _soname(name)
    program = shutil.which("ldconfig", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    known = subprocess.run([program, "-p"], capture_output=True, text=True).stdout if program else ""
    machine = {"x86_64": "x86-64", "aarch64": "AArch64"}[platform.machine()]
    for line in known.splitlines():
        if line.split()[:1] == [soname] and machine in line:
            return Path(line.split("=> ")[1]).resolve()
    raise PackageError(f"{soname} is not on this machine, and packages of the channel load it; install {soname}")


def build_runtime(name: str, tree: Path, channel: Path) -> Path:
    """Pack one of the compiler's runtime libraries."""
    file = find_runtime(name)
    copy = tree / "lib" / _soname(name)
    copy.parent.mkdir()
    shutil.copyfile(file, copy)
    copy.chmod(0o755)
    elf.patchelf("--set-rpath", "$ORIGIN", copy)
    version = re.search(r"(\d+(\.\d+)*)$", file.name)
    package = Package(
        name=name,
        version=version[1] if version else "0",
        build="{hash}_0",
        subdir=subdir(),
        depends=(elf.glibc_requirement([copy]), *(["libgcc"] if "libgcc_s.so.1" in elf.needed(copy) else [])),
        license="GPL-3.0-only WITH GCC-exception-3.1",
        summary="Runtime library of the GNU compiler collection",
    )
    return write_package(package, tree, channel, lambda amount: None)


def compile_sources(python: CPython, tree: Path, folder: str, leave_out: tuple[str, ...]) -> None:
    """Write the `.pyc` of every Python file below `tree/folder`, save those whose path there matches `leave_out`.

    They are unchecked-hash ones (PEP 552), name their source from the prefix on, and do not depend on this machine's
    settings. A file that does not compile is left without, as conda-build does. The files go to the compilers in
    fixed groups, since marshalled bytes depend on what a process compiled before.
    """
    sources = []
    for path in sorted((tree / folder).rglob("*.py")):
        name = path.relative_to(tree / folder).as_posix()
        left_out = any(re.search(pattern, name) for pattern in leave_out)
        if not left_out and not path.is_symlink() and PLACEHOLDER.encode() not in path.read_bytes():
            sources.append(path.relative_to(tree).as_posix())
    groups = [sources[start : start + _FILES_PER_COMPILER] for start in range(0, len(sources), _FILES_PER_COMPILER)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda group: _compile(python, tree, group), groups))


def _compile(python: CPython, tree: Path, sources: list[str]) -> None:
    command = [str(python.executable), "-s", "-S", "-m", "compileall", "-q", "-q", "-i", "-"]
    command += ["--invalidation-mode", "unchecked-hash"]
    environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    done = subprocess.run(
        command, cwd=tree, env=environment, input="\n".join(sources), capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise PackageError(f"{python.executable} cannot compile Python files: {done.stderr.strip()}")


def _executable(prefix: Path, version: str) -> Path:
    executable = prefix / "bin" / f"python{version}"
    if not executable.is_file():
        raise RecipeError(
            f"{prefix} has no bin/python{version}; a channel needs a whole CPython, not a virtual environment"
        )
    return executable.resolve()


def _stage(python: CPython, tree: Path) -> set[str]:
    """Copy the files; return the names of all shared libraries that they load."""
    binary = f"python{python.short}"
    (tree / "bin").mkdir()
    shutil.copyfile(python.executable, tree / "bin" / binary)
    (tree / "bin" / binary).chmod(0o755)
    for alias in ("python", "python3"):
        (tree / "bin" / alias).symlink_to(binary)
    library = tree / "lib" / binary
    shutil.copytree(python.prefix / "lib" / binary, library, ignore=_ignored, symlinks=True)
    _drop_outside_links(library)
    (library / "site-packages").mkdir()
    (library / "site-packages" / "README.txt").write_text("Packages of this environment.\n")
    if (python.prefix / "include" / binary).is_dir():
        shutil.copytree(python.prefix / "include" / binary, tree / "include" / binary)
    loaded: dict[str, Path] = {}
    modules = sorted((python.prefix / "lib" / binary / "lib-dynload").glob("*.so"))
    for file in [python.executable, *(module for module in modules if not _LEFT_OUT_MODULE.match(module.name))]:
        loaded.update(_loaded(file))
    for name, file in loaded.items():
        if name not in elf.SYSTEM_LIBRARIES:
            shutil.copyfile(file, tree / "lib" / name)
            (tree / "lib" / name).chmod(0o755)
    return set(loaded)


def _drop_outside_links(library: Path) -> None:
    """Leave out links to this machine's own configuration, such as Debian's `sitecustomize.py` in `/etc`."""
    for path in library.rglob("*"):
        if path.is_symlink() and path.readlink().is_absolute():
            path.unlink()


def _ignored(folder: str, names: list[str]) -> set[str]:
    ignored = {name for name in names if name in _LEFT_OUT or name.endswith(_LEFT_OUT_FILE) or name[:8] == "config-3"}
    if Path(folder).name == "lib-dynload":
        ignored |= {name for name in names if _LEFT_OUT_MODULE.match(name)}
    return ignored


def _loaded(file: Path) -> dict[str, Path]:
    """Library name -> file, of everything that `file` loads, as the dynamic linker resolves it here."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(["ldd", file], capture_output=True, text=True, env=environment)
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(r"\s*(\S+) => (\S+) \(", line)
        if match and not _GLIBC.match(match[1]):
            found[match[1]] = Path(match[2]).resolve()
        elif "not found" in line:
            raise PackageError(f"{file} cannot be packaged, because a library that it loads is missing: {line.strip()}")
    return found


def _strip(file: Path) -> None:
    """Remove the debugging symbols where `strip` is there. Best effort: they cost space and nothing else."""
    program = shutil.which("strip")
    if program:
        subprocess.run([program, "--strip-unneeded", file], capture_output=True, check=False)


def _replace_prefix(python: CPython, tree: Path) -> None:
    """The build settings (`sysconfig`) name the prefix; the rest of the standard library asks at run time."""
    for path in tree.glob("lib/python*/_sysconfig*"):
        text = path.read_text(encoding="utf-8")
        for old in sorted({str(python.prefix.resolve()), str(python.prefix)}, key=len, reverse=True):
            text = re.sub(re.escape(old) + r"(?![\w.-])", PLACEHOLDER, text)
        path.write_text(text, encoding="utf-8")


def _undo_debian(library: Path) -> None:
    """Debian's CPython installs to and imports from `dist-packages`, except in virtual environments; conda's do not.

    Its `site` is frozen into the executable, so a link leads from there to `site-packages`.
    """
    if "dist-packages" not in (library / "site.py").read_text(encoding="utf-8"):
        return
    (library / "dist-packages").symlink_to("site-packages")
    text = (library / "sysconfig.py").read_text(encoding="utf-8")
    text = text.replace("prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'")
    (library / "sysconfig.py").write_text(text, encoding="utf-8")


def _runtime_packages(libraries: set[str]) -> set[str]:
    return {package for library, package in elf.SYSTEM_LIBRARIES.items() if library in libraries}


def _soname(name: str) -> str:
    return next(library for library, package in elf.SYSTEM_LIBRARIES.items() if package == name)
