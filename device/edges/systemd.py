"""What the service manager sees: readiness, status, the watchdog. Without it, no-ops."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send systemd a message, such as ``READY=1``, ``WATCHDOG=1`` or ``STATUS=listening``, in one datagram.

    The protocol is that of sd_notify(3).

    Returns:
        Whether it was sent: False where no manager listens, or where it does not take the message. Neither is worth an
        exception: a manager that misses a watchdog message restarts the service by itself.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract namespace
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)  # the watchdog's feeder must not hang on a manager that does not read
        try:
            manager.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval_s() -> float | None:
    """How often ``WATCHDOG=1`` is due at least; None: no watchdog watches this process. Send it twice as often."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        interval_us = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return interval_us / 1e6 if interval_us > 0 else None


def listening_sockets() -> list[socket.socket]:
    """Take what systemd has opened for this process, as sd_listen_fds(3) has it; empty where that is nothing.

    No program that this one starts gets them.
    """
    given = {name: os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if given["LISTEN_PID"] != str(os.getpid()) or not given["LISTEN_FDS"].isdecimal():
        return []
    sockets = [socket.socket(fileno=number) for number in range(3, 3 + int(given["LISTEN_FDS"]))]
    for one in sockets:
        os.set_inheritable(one.fileno(), False)
    return sockets
