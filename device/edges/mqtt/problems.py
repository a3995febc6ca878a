"""What goes wrong with a broker, in words for people, each with what to do."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import TYPE_CHECKING

from device.sending.reconnect import Trouble

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from device.edges.mqtt.link import LinkSettings

QOS_0_ONLY = "it takes QoS 0 only, so it acknowledges nothing: requests need another broker"
_ELSEWHERE = "the broker wants its clients at another address: [mqtt] host"
_REASONS = {
    132: ("[mqtt] protocol", Trouble.VERSION),
    133: ("the broker does not take this client id: [device] id", Trouble.LOGIN),
    134: ("check [mqtt] username and its password", Trouble.LOGIN),
    135: ("check [mqtt] username, its password and the broker's access list", Trouble.LOGIN),
    138: ("the broker has banned this client", Trouble.LOGIN),
    140: ("check [mqtt] username and its password", Trouble.LOGIN),
    142: ("two clients have the same id: [device] id, or `receive --client-id`", Trouble.TAKEN),
    149: ("a request is larger than the broker takes; [mqtt] format and [capture] max_s decide that", Trouble.OTHER),
    154: ("it keeps no retained messages", Trouble.RETAIN),
    155: (QOS_0_ONLY, Trouble.OTHER),
    156: (_ELSEWHERE, Trouble.OTHER),
    157: (_ELSEWHERE, Trouble.OTHER),
}
_UNTRUSTED = "its authority is not trusted: name the authority's certificate as [mqtt] ca_file"
_BROKERS_CHAIN = "its chain is incomplete: the broker has to send the intermediate certificates, too (in its certfile)"
_CERTIFICATES = {
    2: "the chain in [mqtt] ca_file is incomplete: it has to hold the authority's certificates up to the root",
    9: "its certificate is not valid yet; is this device's clock right?",
    10: "its certificate has expired; renew it on the broker",
    18: "its certificate is self-signed; name it as [mqtt] ca_file to trust it",
    19: _UNTRUSTED,
    20: f"{_UNTRUSTED}; or {_BROKERS_CHAIN}",
    21: f"{_UNTRUSTED}; or {_BROKERS_CHAIN}",
    62: "its certificate is for another name; use that name as [mqtt] host",
    64: "its certificate is for another address; use the name in it as [mqtt] host",
}


class LastError(logging.Handler):
    """Keeps the last error that paho logs: only there it says why a socket failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""
        self.logger = logging.Logger("paho", logging.ERROR)  # one for each connection, nobody else's
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the reason alone: paho says "failed to receive" of sending too."""
        self.text = record.getMessage().partition(": ")[2]


def explain(error: OSError | ValueError, link: LinkSettings, timeout_s: float) -> tuple[str, str]:
    """Return why a broker could not be reached, and what to do."""
    address = link.address
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _CERTIFICATES.get(error.verify_code, "it cannot be trusted")
        if error.verify_code in (20, 21) and link.ca_file:  # OpenSSL cannot tell one from the other
            why = f"{_BROKERS_CHAIN}; or another authority issued it: name that one's as [mqtt] ca_file"
        return f"{address}: certificate refused ({error.verify_message.rstrip('.')})", why
    if isinstance(error, ConnectionRefusedError):
        return f"{address}: nothing listens there", "is the broker running? check [mqtt] host and port"
    if isinstance(error, ssl.SSLError) or (link.tls and isinstance(error, ConnectionError)):
        reason = (getattr(error, "reason", "") or error.strerror or str(error)).replace("_", " ").lower()
        return f"{address}: no TLS connection ({reason})", "does this port speak TLS? [mqtt] tls and port"
    if isinstance(error, socket.gaierror):
        return f"{address}: the name cannot be resolved ({error.strerror})", "check [mqtt] host and the network"
    if isinstance(error, TimeoutError):
        return f"{address}: no answer within {timeout_s:g} s", "check [mqtt] host and port, the network and firewalls"
    if isinstance(error, OSError):
        return f"{address}: {error.strerror or error}", "check [mqtt] host and the network"
    return f"{address}: not an address ({error})", "check [mqtt] host"


def broken_off(reason: ReasonCode, address: str, *, accepted: bool) -> tuple[str, str, Trouble]:
    """Return what a broker's reason against a connection means: problem, hint, and what the next attempt should know.

    Args:
        reason: from the answer to the greeting, or from a goodbye.
        address: the broker's.
        accepted: whether the connection was in use.
    """
    hint, trouble = _REASONS.get(reason.value, ("", Trouble.OTHER))
    if accepted and trouble not in (Trouble.RETAIN, Trouble.TAKEN):
        trouble = Trouble.OTHER
    what = "ended" if accepted else "refused"
    return f"{address} {what} the connection: {str(reason).lower()}", hint, trouble


def closed_early(detail: str, link: LinkSettings) -> tuple[str, str, Trouble]:
    """Return what it means that a broker closed the connection instead of answering; ``detail`` is the socket's."""
    problem = f"{link.address} closed the connection without an answer" + (f" ({detail})" if detail else "")
    if not link.tls:
        return problem, "does this port want TLS? [mqtt] tls", Trouble.CLOSED
    # With TLS 1.3 a broker that wants a client certificate says so only now, if the socket still lets us read it.
    trouble = Trouble.OTHER if "alert" in detail.lower() else Trouble.CLOSED
    return problem, "does the broker want a client certificate? [mqtt] cert_file and key_file", trouble
