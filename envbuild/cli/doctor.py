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
        "container engine": _engine(),
        "gpus": _gpus(settings),
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
    from envbuild.builder.sandbox.bubblewrap import find_bubblewrap

    try:
        found = find_bubblewrap(settings)
    except EnvbuildError as error:
        return f"not usable: {error}"
    version = ".".join(map(str, found.version))
    return f"bubblewrap {version} at {found.path} ({'overlay' if found.overlay else 'merged folders'})"


def _gpus(settings: Settings) -> str:
    """Those that `--gpus` can give to jobs on the target `local`."""
    from envbuild.trainer.targets import gpu_specifications
    from envbuild.trainer.targets.gpus import gpu_names

    try:
        folders = gpu_specifications("local", settings)
        names = gpu_names(folders)
    except EnvbuildError as error:
        return f"not usable: {error}"
    return ", ".join(names) or f"none: no CDI specification in {' or '.join(map(str, folders))} names one"


def _engine() -> str:
    """Docker Engine or Podman; only `load` and the Docker target need one."""
    from envbuild.builder.publish.engine import find_engine

    try:
        engine = find_engine()
    except EnvbuildError as error:
        return f"none: {error}"
    store = "containerd's image store" if engine.containerd else f"storage {engine.storage}"
    partial = "only missing layers are sent" if engine.takes_partial_archives else "every layer is sent"
    rootless = ", without root" if engine.rootless else ""
    return f"{engine.product} {engine.version} at {engine.host} (from {engine.origin}), {store}{rootless}; {partial}"
