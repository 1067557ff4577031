"""`envbuild doctor`"""

import os
import platform
import shutil

import typer

from envbuild.errors import EnvbuildError
from envbuild.settings import Settings, load_settings

from . import output


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild doctor")(doctor)


def doctor(as_json: output.Json = False) -> None:
    """Say what is usable on this machine, what is not and why, and which settings are in force."""
    settings = load_settings()
    report = {
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "home": str(settings.home),
        "free": output.size(_free(settings)),
        "sandbox": _sandbox(settings),
        "debian packages": "apt-get found"
        if shutil.which("apt-get")
        else "no apt-get: the embedded base cannot be built",
        "settings": {name: origin for name, origin in settings.origins.items() if origin != "default"},
    }
    if as_json:
        output.print_json(report)
    else:
        for name, value in report.items():
            shown = (
                ", ".join(f"{key} from {origin}" for key, origin in value.items()) if isinstance(value, dict) else value
            )
            typer.echo(f"{name:<16} {shown or 'defaults'}")
    if str(report["sandbox"]).startswith("not usable"):
        raise typer.Exit(1)


def _free(settings: Settings) -> int:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _sandbox(settings: Settings) -> str:
    from envbuild.builder.sandbox import find_bubblewrap

    try:
        found = find_bubblewrap(settings)
    except EnvbuildError as error:
        return f"not usable: {error}"
    version = ".".join(map(str, found.version))
    return f"bubblewrap {version} at {found.path} ({'overlay' if found.overlay else 'merged folders'})"
