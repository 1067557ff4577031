"""Ways to log in: taken and not used, because a workspace here is a folder."""


class _Authentication:
    def __init__(self, *_: object, **__: object) -> None:
        """Whatever the SDK's class takes."""


class InteractiveLoginAuthentication(_Authentication):
    """Needs no login here."""


class ServicePrincipalAuthentication(_Authentication):
    """Needs no login here."""


class AzureCliAuthentication(_Authentication):
    """Needs no login here."""


class MsiAuthentication(_Authentication):
    """Needs no login here."""
