"""Whom to trust: the certificates of servers by rtsps:// and https://, alike for every library that connects."""

from __future__ import annotations

import os
import socket
import ssl

from ...engine.errors import UsageError
from ...engine.options import Option

SCHEMES = {"rtsps", "https", "rtmps"}
ANY = "any"
"""what --tls-ca is for a camera that signed its own certificate, and that is trusted all the same"""
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)
"""where systems keep the certificates of those they trust, all in one file"""


TLS_CA = Option(
    "a file with the certificates of the authorities that servers of rtsps://, https:// and rtmps:// are checked "
    "against, inputs and those that a stream is pushed to; any: nothing is checked",
    more="See [Certificates](live.md#certificates).",
    metavar="FILE",
    default="those whom the system trusts",
)
"""of inputs and outputs alike"""


def check_authorities(tls_ca: str | None) -> None:
    """Raises UsageError where it is neither None, nor ANY, nor a file of certificates in PEM that can be read."""
    if tls_ca in (None, ANY):
        return
    try:
        ssl.create_default_context(cafile=tls_ca)
    except (OSError, ValueError):  # the latter for a name that no file can have
        raise UsageError(f"tls-ca must be a file of certificates, or any, got {tls_ca!r}") from None


def authorities(tls_ca: str | None) -> str | None:
    """The file of those whose signature counts; None where the system keeps them elsewhere, or anybody's does.

    Libraries in wheels look for them where the machine had them that built the wheel, and Python may know of a folder
    alone, which FFmpeg does not read.
    """
    if tls_ca == ANY:
        return None
    return tls_ca or ssl.get_default_verify_paths().cafile or next(filter(os.path.isfile, BUNDLES), None)


def checks(tls_ca: str | None) -> dict[str, str]:
    """FFmpeg's options for the same: it checks nothing by itself."""
    ca = authorities(tls_ca)
    return {"tls_verify": str(int(tls_ca != ANY)), **({"ca_file": ca} if ca else {})}


def trusting(tls_ca: str | None) -> ssl.SSLContext:
    """For connections of our own. Raises OSError or ValueError for a file that cannot be read."""
    context = ssl.create_default_context(cafile=authorities(tls_ca))
    if tls_ca == ANY:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def distrust(connection: socket.socket, host: str, tls_ca: str | None) -> str | None:
    """What is wrong with the certificate of whom this leads to; None where it can be trusted, or need not be."""
    if tls_ca != ANY:
        try:
            trusting(tls_ca).wrap_socket(connection, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            advice = "name who signed it by --tls-ca FILE, or trust any by --tls-ca any"
            return f"the certificate of {host} is not trusted ({error.verify_message}): {advice}"
        except (OSError, ValueError):
            pass  # something is wrong, but not with the certificate
    return None
