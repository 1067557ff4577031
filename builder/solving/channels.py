"""Channel names in, URLs and rattler's gateway to them out, with our credentials."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.settings import Settings

from ..fetching.credentials import Credentials
from ..lock import without_user

if TYPE_CHECKING:
    from rattler import Gateway

_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
"""What conda means by `defaults` on Linux."""


def channel_urls(channel: str, settings: Settings) -> list[str]:
    """What `channel` (a name, or a URL) stands for: envbuild.toml first, then conda's own meaning.

    Without user and password, which the gateway adds: rattler keeps URLs in its cache.
    """
    mapped = settings.channels.get(channel)
    if mapped:
        return [without_user(mapped)]
    return list(_DEFAULTS) if channel == "defaults" else [channel]


@contextmanager
def open_gateway(settings: Settings, credentials: Credentials) -> "Iterator[Gateway]":
    """rattler's reader of channels, with a cache of its own in our home.

    A channel with a token in its path is read without keeping anything: the cache would keep the token.
    """
    import rattler
    from rattler.networking.middleware import (
        AddHeadersMiddleware,
        AuthenticationMiddleware,
        OciMiddleware,
        RetryMiddleware,
    )

    def headers(host: str, path: str) -> dict[str, str] | None:
        known = credentials.find_at(host, path)
        return {"Authorization": known.header} if known else None

    client = rattler.Client(
        [RetryMiddleware(3), AddHeadersMiddleware(headers), AuthenticationMiddleware(), OciMiddleware()]
    )
    cache = settings.home / "cache" / "repodata"
    if not credentials.has_tokens_in_paths:
        yield rattler.Gateway(cache_dir=cache, client=client)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield rattler.Gateway(cache_dir=Path(folder), client=client)
