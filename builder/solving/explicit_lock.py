"""An explicit list in, a lock out.

What the list says is verified; where it has MD5 only, which protects from accidents and not from people, the package
is brought at once, checked against it, and its sha256 goes into the lock: from then on that is what counts.
"""

from collections.abc import Sequence

from envbuild.errors import LockError
from envbuild.settings import Settings

from ..fetching.fetch import sha256_by_md5
from ..inputs.explicit_file import ExplicitList
from ..lock import Lock, checked_package, without_credentials
from ..report import Reporter


def lock_explicit(
    listed: ExplicitList, platforms: Sequence[str], settings: Settings, reporter: Reporter
) -> tuple[Lock, tuple[str, ...]]:
    """The lock of `listed`, and what is to be said about it; `platforms` is what the user asks for, if anything.

    Raises:
        LockError: the list is of another platform.
        FetchError: a package with MD5 only cannot be had, or is not what the list says.
    """
    platform = listed.platform or (platforms[0] if platforms else "linux-64")
    if platforms and tuple(platforms) != (platform,):
        raise LockError(f"the list is of {platform}, not of {', '.join(platforms)}; write one there")
    weak = [package for package in listed.packages if not package.sha256]
    known = sha256_by_md5([(each.url, each.md5) for each in weak], settings, reporter)
    packages = []
    for each in listed.packages:
        sha256 = each.sha256 or known[each.md5]
        packages.append(checked_package("conda", each.name, each.version, each.url, sha256, each.md5))
    channels = dict.fromkeys(without_credentials(package.url.rsplit("/", 2)[0]) for package in packages)
    notes = (f"{len(weak)} packages of the list have MD5 only; checked, and locked with their sha256",) if weak else ()
    return Lock(platform, tuple(channels), tuple(sorted(packages, key=lambda package: package.name))), notes
