"""Files that people name and that are not read, each with the command that makes one that is."""

from pathlib import Path

from envbuild.errors import SpecError

READ = "environment.yml, requirements.txt, conda-lock.yml, pixi.lock and explicit lists"

_EXPORT = "write it as requirements: {}"
_WAYS = {
    "pylock.toml": _EXPORT.format("the tool that locked it can (uv export --format requirements.txt, pdm export)"),
    "uv.lock": _EXPORT.format("uv export --format requirements.txt > requirements.txt"),
    "poetry.lock": _EXPORT.format("poetry export > requirements.txt"),
    "pdm.lock": _EXPORT.format("pdm export > requirements.txt"),
    "pyproject.toml": "name the folder in a requirements.txt (a line '.'), or lock it: "
    "uv pip compile --generate-hashes pyproject.toml > requirements.txt",
    "setup.py": "name its folder in a requirements.txt (a line '.')",
    "setup.cfg": "name its folder in a requirements.txt (a line '.')",
    "pipfile": _EXPORT.format("pipenv requirements --hash > requirements.txt"),
    "pipfile.lock": _EXPORT.format("pipenv requirements --hash > requirements.txt"),
    "pixi.toml": "name the pixi.lock beside it",
    "dockerfile": "name the environment file that it installs",
    "meta.yaml": "a recipe builds a package; name the environment that installs it",
}


def refuse_unread(path: Path) -> None:
    """Raise SpecError where `path` is of a kind that is known and not read."""
    name = path.name.lower()
    if name.startswith("pylock.") and name.endswith(".toml"):  # PEP 751 names them so
        name = "pylock.toml"
    way = _WAYS.get(name) or ("name an environment file" if path.suffix.lower() in (".py", ".ipynb", ".toml") else "")
    if way:
        raise SpecError(f"{path}: a {path.name} is not read ({READ} are); {way}")
