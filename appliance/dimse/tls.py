"""The TLS context of a DICOM listener (PS3.15 B.12: the BCP 195 profile of RFC 8996 and RFC 9325)."""

from __future__ import annotations

import ssl
from typing import Final

from appliance.errors import ConfigError

# RFC 9325 4.2: forward secrecy and authenticated encryption only. TLS 1.3's own suites need no naming.
_TLS_1_2_SUITES: Final = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    )
)


def server_context(certificate: str, key: str, client_ca: str = "") -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with these PEM files; with `client_ca` a client must show a certificate. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_SUITES)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(certificate, key)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"dicom.tls_certificate, tls_key or tls_client_ca can't be used: {error}") from error
    return context
