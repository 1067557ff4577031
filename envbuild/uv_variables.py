"""What uv's own variables say about indexes, where `envbuild.toml` says nothing of them.

A mirror that a company has set up for uv goes on working, but as a setting like any other: `doctor` names the variable,
the spec key holds the URL, and credentials are kept out of both.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)")


def indexes_of_uv(environ: Mapping[str, str]) -> dict[str, tuple[str | list[str], str]]:
    """Key of `[pip]` -> its value, and the variable that gives it; as uv reads them (uv's documentation,
    "Environment variables"): of two names for one thing the newer first."""
    found: dict[str, tuple[str | list[str], str]] = {}
    for variable in ("UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        if environ.get(variable):
            found["index"] = (_url(environ[variable], environ), variable)
    for key, variable, separator in (
        ("extra-indexes", "UV_EXTRA_INDEX_URL", None),
        ("extra-indexes", "UV_INDEX", None),
        ("find-links", "UV_FIND_LINKS", ","),
    ):
        urls = [_url(each, environ) for each in environ.get(variable, "").split(separator) if each.strip()]
        if urls:
            found[key] = ([*urls, *found.get(key, ([], ""))[0]], variable)
    return found


def _url(text: str, environ: Mapping[str, str]) -> str:
    """The URL of `URL`, `PATH` or `NAME=URL`, with the user and password that there are for the name."""
    named = _NAMED.fullmatch(text.strip())
    name, place = (named[1], named[2]) if named else ("", text.strip())
    if "://" not in place:
        return Path(place).absolute().as_uri()
    try:
        parts = urlsplit(place)
    except ValueError:  # the settings say so, as of any other
        return place
    prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"
    user, password = environ.get(f"{prefix}_USERNAME", ""), environ.get(f"{prefix}_PASSWORD", "")
    if not name or "@" in parts.netloc or not (user or password):
        return place
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))
