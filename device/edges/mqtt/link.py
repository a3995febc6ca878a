"""The settings of a link to a broker, and the TLS context they make."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal

from device.errors import ConfigurationError
from device.message import commands

_COMMAND_PACKET_BYTES = 16_384  # a command has some ten bytes, its topic some hundred


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Where the broker is, who we are there, and how requests are published; the sender's whole configuration.

    Attributes:
        host: name or address.
        port: TCP port.
        base_topic: ``{topic_prefix}/{device id}``.
        client_id: one for each role of a device: a broker ends the older of two connections with the same one, which
            is what clears away a half-open connection and its last will.
        username: empty: no login.
        password: never shown.
        tls: encrypt, and check the broker's certificate and name.
        ca_file: the certificates to trust; empty: the system's.
        cert_file: client certificate; empty: none.
        key_file: its key; empty: in ``cert_file``.
        protocol: ``auto``: 5, else 3.1.1.
        expiry_s: message expiry, MQTT 5; 0: none.
        no_subscriber: what to do where the broker says that nobody is subscribed.
        ack_timeout_s: how long an acknowledgement may take once no more bytes can be seen to move.
        keepalive_s: how often an idle connection is tried.
        max_packet_bytes: the largest packet that may arrive.
        session_s: how long the broker keeps what arrives while we are away; 0: not at all.
        announce: publish status and states, set the last will, execute commands; the daemon does, a command does not.
        allow_remote_opt_in: execute an opt-in over MQTT.
        birth_topic: where Home Assistant says that it has started; empty: it is not told of this device.
        wake_words: those that may be chosen over MQTT, and their thresholds changed; empty: none may.
    """

    host: str
    port: int
    base_topic: str
    client_id: str
    username: str = ""
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    expiry_s: int = 0
    no_subscriber: Literal["keep", "drop"] = "keep"
    ack_timeout_s: float = 10.0
    keepalive_s: int = 20
    max_packet_bytes: int = _COMMAND_PACKET_BYTES
    session_s: int = 0
    announce: bool = True
    allow_remote_opt_in: bool = False
    birth_topic: str = ""
    wake_words: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Host and port, as shown to people."""
        return f"{self.host}:{self.port}"

    @property
    def status_topic(self) -> str:
        """Where the device is said to be online or offline; the last will's topic."""
        return f"{self.base_topic}/status"

    @property
    def command_topics(self) -> dict[str, str]:
        """Where commands come from, by level."""
        return commands.topics(self.base_topic, self.birth_topic, wake=bool(self.wake_words))

    @property
    def event_topic(self) -> str:
        """Where it says what happens."""
        return f"{self.base_topic}/event"


def tls_context(link: LinkSettings) -> ssl.SSLContext:
    """Return the TLS context of these settings.

    Raises:
        ConfigurationError: a certificate or key cannot be read, or is none.
    """
    problems = []
    context = ssl.create_default_context()
    if link.ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody yet: not the system's authorities either
        try:
            context.load_verify_locations(link.ca_file)
        except OSError as error:
            problems.append(f"[mqtt] ca_file = {link.ca_file!r}: {_file_problem(error)}; a PEM file of the authority")
    if link.cert_file:
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(link.cert_file, link.key_file or None, password="")
        except OSError as error:
            files = f"cert_file = {link.cert_file!r}, key_file = {link.key_file!r}"
            problems.append(f"[mqtt] {files}: {_file_problem(error)}; a PEM certificate and its key, not encrypted")
    if problems:
        raise ConfigurationError(problems)
    return context


def _file_problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"cannot be used ({error.reason or error.strerror or 'no PEM'})".replace("_", " ").lower()
    return f"cannot be read ({error.strerror})"
