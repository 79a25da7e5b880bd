"""Which certificates of servers are trusted, in the same way for every library that connects."""

from __future__ import annotations

import os
import socket
import ssl

from ...engine.errors import UsageError
from ...engine.options import Option

SCHEMES = {"rtsps", "https", "rtmps"}
ANY = "any"
"""The value of --tls-ca that trusts every certificate, for cameras with self-signed ones."""
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)
"""Files in which systems keep the certificates of the authorities that they trust."""


TLS_CA = Option(
    "a file with the certificates of the authorities that servers of rtsps://, https:// and rtmps:// are checked "
    "against, inputs and those that a stream is pushed to; any: nothing is checked",
    more="See [Certificates](live.md#certificates).",
    metavar="FILE",
    default="those whom the system trusts",
)
"""of inputs and outputs alike"""


def check_authorities(tls_ca: str | None) -> None:
    """Raises UsageError if it is not None, ANY or a readable file of certificates in PEM."""
    if tls_ca in (None, ANY):
        return
    try:
        ssl.create_default_context(cafile=tls_ca)
    except (OSError, ValueError):  # ValueError for a name that no file can have
        raise UsageError(f"tls-ca must be a file of certificates, or any, got {tls_ca!r}") from None


def authorities(tls_ca: str | None) -> str | None:
    """The file of the authorities to trust; None if the system keeps them elsewhere, or if every certificate is
    trusted.

    Libraries in wheels look for this file where it was on the machine that built the wheel. Python may know only a
    folder of certificates, which FFmpeg cannot read.
    """
    if tls_ca == ANY:
        return None
    return tls_ca or ssl.get_default_verify_paths().cafile or next(filter(os.path.isfile, BUNDLES), None)


def checks(tls_ca: str | None) -> dict[str, str]:
    """FFmpeg's options for checking certificates: by default it does not check them."""
    ca = authorities(tls_ca)
    return {"tls_verify": str(int(tls_ca != ANY)), **({"ca_file": ca} if ca else {})}


def trusting(tls_ca: str | None) -> ssl.SSLContext:
    """The context for connections of this program. Raises OSError or ValueError if the file cannot be read."""
    context = ssl.create_default_context(cafile=authorities(tls_ca))
    if tls_ca == ANY:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def distrust(connection: socket.socket, host: str, tls_ca: str | None) -> str | None:
    """What is wrong with the certificate of the server at the other end; None if it is trusted, or need not be."""
    if tls_ca != ANY:
        try:
            trusting(tls_ca).wrap_socket(connection, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            advice = "name who signed it by --tls-ca FILE, or trust any by --tls-ca any"
            return f"the certificate of {host} is not trusted ({error.verify_message}): {advice}"
        except (OSError, ValueError):
            pass  # something else than the certificate is wrong
    return None
