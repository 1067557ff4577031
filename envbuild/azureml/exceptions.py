"""The exceptions that control scripts catch."""

from envbuild.errors import EnvbuildError, InputError


class AzureMLException(EnvbuildError):
    """The root of the SDK's exceptions."""


class UserErrorException(AzureMLException, InputError):
    """What is asked for cannot be right."""


class ComputeTargetException(UserErrorException):
    """There is no compute target of that name."""


class WorkspaceException(UserErrorException):
    """The workspace cannot be used."""
