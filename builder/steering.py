"""What decides a solve beside the request: platforms, what their machines have, channel mapping, pip indexes.

Nothing of it is read from this machine: a lock must not depend on where it was made.
"""

from collections.abc import Sequence

from envbuild.settings import Settings

from .lock import without_credentials
from .platforms import find_platform
from .spec import EnvironmentSpec

DEFAULT_VIRTUAL_PACKAGES = {"__unix": "0", "__linux": "5.10", "__glibc": "2.28"}
"""What most clusters of today have: kernel 5.10, and glibc 2.28 (manylinux_2_28). No `__cuda`: who has it says so."""


def steering(settings: Settings, platforms: Sequence[str]) -> dict[str, object]:
    """Everything but the request that decides the solve, without credentials; part of the spec key.

    Raises:
        InputError: a platform is unknown.
    """
    return {
        "platforms": list(platforms),
        "virtual_packages": {platform: virtual_packages(settings, platform) for platform in platforms},
        "channels": {name: without_credentials(url) for name, url in sorted(settings.channels.items())},
        "pip": [
            without_credentials(each)
            for each in (settings.pip.index, *settings.pip.extra_indexes, "links", *settings.pip.find_links)
        ],
    }


def virtual_packages(settings: Settings, platform: str, spec: EnvironmentSpec | None = None) -> dict[str, str]:
    """What the machines of `platform` have: the defaults, then the settings, then what the spec says."""
    found = {**DEFAULT_VIRTUAL_PACKAGES, "__archspec": find_platform(platform).archspec}
    found.update(settings.virtual_packages.get(platform, {}))
    return {**found, **dict(spec.virtual_packages if spec else ())}
