"""By which names the page may be asked for, and whether a form comes from the page itself."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]{1,253})(:[0-9]{1,5})?")


def is_known(host: str, names: Collection[str]) -> bool:
    """Return whether a Host header names this device: by an address, as localhost, or by one of its names.

    A page of somebody else's can have its own name lead to this device, and would read what is shown here (DNS
    rebinding); it cannot have an address as its name.

    Args:
        host: the header, with or without a port.
        names: the device's, in lower case.
    """
    found = _HOST.fullmatch(host.lower())
    if not found:
        return False
    name = found[1].strip("[]").removesuffix(".")
    return name == "localhost" or name in names or _is_address(name)


def is_own_form(origin: str | None, fetch_site: str | None, host: str, *, secure: bool) -> bool:
    """Return whether what changes something was sent by the page itself.

    Args:
        origin: the Origin header, which browsers send with every such form.
        fetch_site: the Sec-Fetch-Site header.
        host: the Host header.
        secure: is the page reached by https?
    """
    if fetch_site not in (None, "same-origin"):
        return False
    return origin is not None and origin.lower() == f"http{'s' * secure}://{host.lower()}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
