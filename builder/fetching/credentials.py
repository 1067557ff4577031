"""Who we are for private channels and indexes. Nothing here is ever written to a lock, log, image or message.

For the URL of a channel or index the first of these answers:

1. the variables ENVBUILD_CHANNEL_<NAME>_TOKEN, or _USER and _PASSWORD, of the channel's name in envbuild.toml
   (ENVBUILD_PIP_TOKEN, or _USER and _PASSWORD, for the indexes of [pip]),
2. `user:password@` or `/t/TOKEN/` in the URL that envbuild.toml gives,
3. rattler's file of credentials (RATTLER_AUTH_FILE, as `rattler auth login` and `pixi auth login` write it),
4. netrc (NETRC, or ~/.netrc),
5. the keyring, when a server has refused us: a keyring may ask its user to be unlocked, so it is not asked in vain.
"""

import base64
import fnmatch
import json
import netrc
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from envbuild.errors import SettingsError
from envbuild.settings import Settings

from ..lock import without_credentials

_USER_OF_TOKENS = "__token__"
"""The user name beside a token, for servers that know passwords only (indexes, by convention)."""
_TOKEN_PATH = re.compile(r"^/t/([^/]+)(/.*)")
_IN_TEXT = re.compile(r"(?<=://)[^/\s'\"]+@|(?<=/t/)[^/\s'\"]+(?=/)")


@dataclass(frozen=True)
class Credential:
    """A user with a password, or a bearer token when `user` is empty."""

    user: str
    secret: str

    @property
    def header(self) -> str:
        """The value of the header `Authorization` (RFC 7617, RFC 6750)."""
        if not self.user:
            return f"Bearer {self.secret}"
        return f"Basic {base64.b64encode(f'{self.user}:{self.secret}'.encode()).decode()}"

    @property
    def pair(self) -> tuple[str, str]:
        """User and password, for programs that know nothing else."""
        return self.user or _USER_OF_TOKENS, self.secret


class Credentials:
    """What is known on this machine; made once for a solve or a download."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        indexes = (settings.pip.index, *settings.pip.extra_indexes, *settings.pip.find_links)
        self._channels: list[tuple[str, Credential]] = []
        self._indexes: list[tuple[str, Credential]] = []
        self._token_paths: list[tuple[str, str]] = []
        for name, url in settings.channels.items():
            known = _from_variables(f"ENVBUILD_CHANNEL_{_variable(name)}", environ) or _from_url(url)
            if known:
                self._channels.append((without_credentials(url), known))
        for url in filter(None, indexes):  # an index hands out its files from any path of its host
            known = _from_variables("ENVBUILD_PIP", environ) or _from_url(url)
            if known:
                self._indexes.append((_root(without_credentials(url)), known))
        for url in filter(None, (*settings.channels.values(), *indexes)):
            parts = urlsplit(url)
            if _TOKEN_PATH.match(parts.path):
                self._token_paths.append((without_credentials(url), urlunsplit(("", "", parts.path, "", ""))))
        self._places = [_Place.of(url) for url in settings.channels.values() if "://" in url]
        self._places += [_Place.of(url, whole_host=True) for url in indexes if "://" in url]
        self._kept: list[tuple[str, Credential]] = []
        self._hosts = _rattler_file(environ)
        self._netrc = _netrc(environ)

    def find(self, url: str) -> Credential | None:
        """Who we are for `url`."""
        bare = without_credentials(url)
        for known in (self._kept, self._channels, self._indexes):
            fitting = [pair for pair in known if _below(bare, pair[0])]
            if fitting:
                return max(fitting, key=_length)[1]
        return self._of_host(urlsplit(url).hostname or "")

    def find_at(self, host: str, path: str) -> Credential | None:
        """Who we are for the path `path` of a channel on `host`; rattler does not tell the port."""
        for known in (self._kept, self._channels):
            fitting = [pair for pair in known if _below(f"//{host}{path}", _without_port(pair[0]))]
            if fitting:
                return max(fitting, key=_length)[1]
        return self._of_host(host)

    def ask_keyring(self, *urls: str) -> bool:
        """Ask the keyring who we are for these channels, indexes or files, one of which has refused us; whether it
        knows. From now on its answers are what `find` says, before all others."""
        found = [answer for url in urls if (answer := self._of_keyring(without_credentials(url)))]
        self._kept = [*found, *self._kept]
        return bool(found)

    def _of_keyring(self, url: str) -> tuple[str, Credential] | None:
        root, parts = _root(url), urlsplit(url)
        known = [place for place in self._places if _below(url, place.reach)]
        user = next((place.user for place in known if place.user), None)
        services = {url: url, **{place.url: place.reach for place in known}}
        services |= dict.fromkeys((root, parts.netloc, parts.hostname or ""), root)
        for service, reach in services.items():
            credential = _in_keyring(service, user)
            if credential:
                return reach, credential
        return None

    def _of_host(self, host: str) -> Credential | None:
        for pattern, credential in self._hosts:
            if fnmatch.fnmatch(host, pattern):
                return credential
        known = self._netrc.authenticators(host) if self._netrc else None
        return Credential(known[0] or _USER_OF_TOKENS, known[2]) if known and known[2] else None

    @property
    def has_tokens_in_paths(self) -> bool:
        """Whether a URL of envbuild.toml holds a `/t/TOKEN/`, which reading the channel takes with it everywhere."""
        return bool(self._token_paths)

    def with_token(self, url: str) -> str:
        """`url` with the `/t/TOKEN/` that its channel has in envbuild.toml."""
        for channel, path in sorted(self._token_paths, key=_length, reverse=True):
            if url.startswith(f"{channel.rstrip('/')}/"):
                parts = urlsplit(url)
                return urlunsplit(parts._replace(path=path.rstrip("/") + url[len(channel.rstrip("/")) :]))
        return url


def redacted(text: str) -> str:
    """`text` without the credentials in its URLs."""
    return _IN_TEXT.sub(lambda match: "" if match[0].endswith("@") else "<token>", text)


@dataclass(frozen=True)
class _Place:
    """A channel or index of envbuild.toml."""

    url: str
    reach: str
    """What its credentials are for."""
    user: str
    """Who we are there, where the URL says that and no password."""

    @classmethod
    def of(cls, url: str, *, whole_host: bool = False) -> "_Place":
        bare, parts = without_credentials(url), urlsplit(url)
        user = "" if parts.password else unquote(parts.username or "")
        return cls(bare, _root(bare) if whole_host else bare, user)


def _in_keyring(service: str, user: str | None) -> Credential | None:
    """What the keyring has for `service`, as rattler (under the host), pip and twine keep it there.

    Many keyrings give a password only to who says whose it is: `user`, else `__token__`.
    """
    try:
        import keyring

        kept = keyring.get_password("rattler", service)
        if kept:
            return _from_rattler(json.loads(kept))
        found = keyring.get_credential(service, user)
        if found is None and user is None:
            found = keyring.get_credential(service, _USER_OF_TOKENS)
    except Exception:  # no keyring here, a locked one, or a damaged entry: each backend has its own errors
        return None
    return Credential(found.username or _USER_OF_TOKENS, found.password) if found and found.password else None


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _from_variables(prefix: str, environ: Mapping[str, str]) -> Credential | None:
    token, user, password = (environ.get(f"{prefix}_{part}", "") for part in ("TOKEN", "USER", "PASSWORD"))
    if token:
        return Credential("", token)
    if bool(user) != bool(password):
        raise SettingsError(f"{prefix}_USER and {prefix}_PASSWORD belong together; set both, or {prefix}_TOKEN")
    return Credential(user, password) if user else None


def _from_url(url: str) -> Credential | None:
    parts = urlsplit(url)
    if not parts.username:
        return None
    return Credential(unquote(parts.username), unquote(parts.password or ""))


def _below(url: str, place: str) -> bool:
    return f"{url}/".startswith(f"{place.rstrip('/')}/")


def _length(pair: tuple[str, object]) -> int:
    """Of a place and what is for it: of two places, one below the other, the longer is meant."""
    return len(pair[0])


def _without_port(place: str) -> str:
    parts = urlsplit(place)
    return f"//{parts.hostname or ''}{parts.path}"


def _root(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _rattler_file(environ: Mapping[str, str]) -> list[tuple[str, Credential]]:
    """Host pattern -> credential; the most exact pattern first."""
    name = environ.get("RATTLER_AUTH_FILE")
    if not name:
        return []
    try:
        entries = json.loads(Path(name).read_bytes())
        found = [(host, credential) for host, entry in entries.items() if (credential := _from_rattler(entry))]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        raise SettingsError(f"RATTLER_AUTH_FILE={name} cannot be read; write it with rattler auth login") from None
    return sorted(found, key=lambda pair: ("*" in pair[0], -len(pair[0])))


def _from_rattler(entry: Mapping[str, object]) -> Credential | None:
    if "BearerToken" in entry:
        return Credential("", str(entry["BearerToken"]))
    basic = entry.get("BasicHTTP")
    return Credential(str(basic["username"]), str(basic["password"])) if isinstance(basic, Mapping) else None


def _netrc(environ: Mapping[str, str]) -> netrc.netrc | None:
    file = Path(environ.get("NETRC") or Path(environ.get("HOME") or "~").expanduser() / ".netrc")
    try:
        return netrc.netrc(str(file)) if file.is_file() else None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} cannot be read as netrc: it is not UTF-8 text") from None
    except (netrc.NetrcParseError, OSError) as error:
        reason = error.msg if isinstance(error, netrc.NetrcParseError) else error.strerror
        raise SettingsError(f"{file} cannot be read as netrc: {reason}") from None
