"""`envbuild studio`"""

from typing import Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import load_settings

from . import output

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild studio --open")(studio)


def studio(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8765,
    host: Annotated[str, typer.Option(help="The address to listen on; others than 127.0.0.1 are open to others.")] = (
        "127.0.0.1"
    ),
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: output.Json = False,
) -> None:
    """Show environments, builds, runs and their metrics in a browser, live. Ctrl-C ends it."""
    settings = load_settings()
    try:
        from envbuild.studio.server import serve
    except ImportError as error:
        missing = error.name
        raise InputError(
            f"the studio needs {missing}, which is not installed: pip install 'envbuild[studio]'"
        ) from None
    if host not in _LOOPBACK:
        output.note(f"warning: there are no users: whoever reaches {host} can read and delete all of {settings.home}")

    def ready(url: str) -> None:
        if as_json:
            output.print_json({"url": url, "home": str(settings.home)})
        else:
            typer.echo(f"{url}  (Ctrl-C ends it)")
        if open_:
            import webbrowser

            webbrowser.open(url)

    serve(settings, host, port, ready)
