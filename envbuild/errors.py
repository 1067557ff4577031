"""Every error a user can cause, as one tree.

Each message is written for the person at the terminal: what went wrong, where, what was expected, and what to do
next. The command line prints the message and exits with `exit_code`; it never prints a traceback for one of these.
"""

from pathlib import Path


class EnvbuildError(Exception):
    """A build, a download or a job failed; the message says why and what to do next."""

    exit_code = 1
    log: Path | None = None
    """The build log that tells more, where there is one."""

    def add_log(self, path: Path) -> None:
        """Note the build log, for the command line to name."""
        self.log = path


class InputError(EnvbuildError):
    """The user's input is wrong: a file, a name, an option, a setting."""

    exit_code = 2


class SpecError(InputError):
    """An environment file cannot be understood. The message names the file and, where one is known, the line."""


class SettingsError(InputError):
    """`envbuild.toml` or an `ENVBUILD_...` variable cannot be understood."""


class RecipeError(InputError):
    """`channel.toml` cannot be understood. The message names the file, the entry and the key."""


class SolveError(InputError):
    """No set of packages satisfies the environment file; the message carries the solver's reason."""


class LockError(InputError):
    """A lock file cannot be read, or does not hold what is asked of it."""


class NotFound(InputError):
    """No environment, run, base or target has that name; the message lists the known ones."""


class FetchError(EnvbuildError):
    """A channel, index or package could not be reached, or what arrived is not what the lock promised."""


class PackageError(EnvbuildError):
    """A package is damaged, or asks for something that is refused (a path outside the prefix, a script)."""


class PlanError(EnvbuildError):
    """The packages of a lock cannot be laid out as an image."""


class StoreError(EnvbuildError):
    """The store cannot be read or written (a full disk, a changed tree, a missing blob)."""


class LayerError(EnvbuildError):
    """A layer or image from elsewhere is damaged, is not what its digest promises, or holds something refused."""


class BaseError(EnvbuildError):
    """A base image cannot be built or found."""


class SandboxError(EnvbuildError):
    """No usable sandbox on this machine, or a command could not be started inside it."""


class SnapshotError(InputError):
    """The source folder cannot be taken as a snapshot (too big, a link that leaves it, a missing script)."""


class SignatureError(EnvbuildError):
    """A signature is missing, is not by the key that was named, or is about something else."""


class ExportError(EnvbuildError):
    """An image or a run could not be written to its destination."""


class EngineError(EnvbuildError):
    """Docker Engine or Podman cannot be reached, refuses something, or has failed."""


class EngineAddressError(EngineError):
    """What was named as an engine's address is none: `--host`, a setting, DOCKER_HOST or a Docker context."""

    exit_code = 2


class RegistryError(EnvbuildError):
    """A registry cannot be reached, refuses us, or holds something else than it said."""

    def __init__(self, message: str, *, status: int | None = None, answer: str = "") -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status that the registry answered with, where it did."""
        self.answer = answer
        """What it said of that, whole and unread: not to be shown."""
