"""Encryption of the listeners for callers, the same for gRPC and REST but for the protocol that is agreed on."""

import ssl

from router.settings import Tls
from serving.errors import ConfigurationError


def server_context(tls: Tls, protocol: str) -> ssl.SSLContext | None:
    """None without a certificate. `protocol` is ALPN's name, "h2" or "http/1.1". Raises ConfigurationError."""
    if not tls.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    try:
        context.load_cert_chain(tls.certificate, tls.key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{tls.certificate} cannot be used: {error.strerror or error}",
            field="router.tls.certificate",
            remedy="give PEM files of a certificate chain and its key",
        ) from error
    return context
