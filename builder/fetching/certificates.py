"""Which certificates our own downloads trust."""

import os
import ssl
from pathlib import Path

from envbuild.errors import SettingsError

_SYSTEM = "/etc/ssl/certs/ca-certificates.crt"


def certificates() -> str | bool:
    """The system's certificates, which hold a company's own; those of requests where the system has none.

    Raises:
        SettingsError: `REQUESTS_CA_BUNDLE` or `SSL_CERT_FILE` name a file that is not there.
    """
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        named = os.environ.get(name)
        if named and not Path(named).exists():
            raise SettingsError(f"{name} names the certificates {named}, which do not exist; correct it, or unset it")
    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle:
        return bundle
    for file in (ssl.get_default_verify_paths().cafile, _SYSTEM):
        if file and Path(file).is_file():
            return file
    return True
