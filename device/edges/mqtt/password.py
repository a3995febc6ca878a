"""The broker's password."""

from __future__ import annotations

from device.secret_file import Secret, read_secret

CREDENTIAL = "mqtt-password"
_MAX_BYTES = 65_535  # MQTT's own limit


def mqtt_password(
    password_file: str, credentials_directory: str | None, *, credential: str = CREDENTIAL, section: str = "mqtt"
) -> Secret:
    """Read the broker's password.

    Args:
        password_file: the configured file; empty: what systemd hands over, if anything.
        credentials_directory: systemd's ``$CREDENTIALS_DIRECTORY``.
        credential: its name there.
        section: of the configuration, where the file is named.

    Raises:
        ConfigurationError: the file cannot be read, or holds no password.
    """
    return read_secret(
        password_file, credentials_directory,
        credential=credential, key=f"[{section}] password_file", noun="password", most_bytes=_MAX_BYTES,
    )  # fmt: skip
