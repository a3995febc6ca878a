"""What goes wrong with a broker, in words for people, each with what to do."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import TYPE_CHECKING

from device.core.reconnect import Trouble

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from device.edges.mqtt.link import LinkSettings

UNSUPPORTED_VERSION = 132
_LOGIN = {
    133: "the broker does not take this client id: [device] id",
    134: "check [mqtt] username and its password",
    135: "check [mqtt] username, its password and the broker's access list",
    138: "the broker has banned this client",
    140: "check [mqtt] username and its password",
}
_CERTIFICATES = {
    9: "its certificate is not valid yet; is this device's clock right?",
    10: "its certificate has expired; renew it on the broker",
    18: "its certificate is self-signed; name it as [mqtt] ca_file to trust it",
    19: "its authority is not trusted; name the authority's certificate as [mqtt] ca_file",
    20: "its authority is not trusted; name the authority's certificate as [mqtt] ca_file",
    62: "its certificate is for another name; use that name as [mqtt] host",
    64: "its certificate is for another address; use the name in it as [mqtt] host",
}


class LastError(logging.Handler):
    """Keeps the last error that paho logs: it tells nobody else why a socket failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""
        self.logger = logging.Logger("paho", logging.ERROR)  # one for each connection, nobody else's
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the reason alone: paho says "failed to receive" of sending too."""
        self.text = record.getMessage().partition(": ")[2]


def explain(error: OSError | ValueError, address: str, timeout_s: float, *, tls: bool = False) -> tuple[str, str]:
    """Return why a broker could not be reached, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _CERTIFICATES.get(error.verify_code, "it cannot be trusted")
        return f"{address}: certificate refused ({error.verify_message.rstrip('.')})", why
    if isinstance(error, ConnectionRefusedError):
        return f"{address}: nothing listens there", "is the broker running? check [mqtt] host and port"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionError)):
        reason = (getattr(error, "reason", "") or error.strerror or str(error)).replace("_", " ").lower()
        return f"{address}: no TLS connection ({reason})", "does this port speak TLS? [mqtt] tls and port"
    if isinstance(error, socket.gaierror):
        return f"{address}: the name cannot be resolved ({error.strerror})", "check [mqtt] host and the network"
    if isinstance(error, TimeoutError):
        return f"{address}: no answer within {timeout_s:g} s", "check [mqtt] host and port, the network and firewalls"
    if isinstance(error, OSError):
        return f"{address}: {error.strerror or error}", "check [mqtt] host and the network"
    return f"{address}: not an address ({error})", "check [mqtt] host"


def refused_connection(reason: ReasonCode, address: str) -> tuple[str, str, Trouble]:
    """Return what a broker's refusal to connect means: problem, hint, and what the next attempt should know."""
    problem = f"{address} refused the connection: {str(reason).lower()}"
    if reason.value == UNSUPPORTED_VERSION:
        return problem, "", Trouble.VERSION
    if reason.value in _LOGIN:
        return problem, _LOGIN[reason.value], Trouble.LOGIN
    return problem, "", Trouble.OTHER


def closed_early(detail: str, link: LinkSettings) -> tuple[str, str, Trouble]:
    """Return what it means that a broker closed the connection instead of answering; ``detail`` is the socket's."""
    problem = f"{link.address} closed the connection without an answer" + (f" ({detail})" if detail else "")
    if not link.tls:
        return problem, "does this port want TLS? [mqtt] tls", Trouble.CLOSED
    # With TLS 1.3 a broker that wants a client certificate says so only now, if the socket still lets us read it.
    trouble = Trouble.OTHER if "alert" in detail.lower() else Trouble.CLOSED
    return problem, "does the broker want a client certificate? [mqtt] cert_file and key_file", trouble
