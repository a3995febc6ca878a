"""What is wrong with the values in [web], and the parts of its address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from device.config.paths import file_problem
from device.config.wording import shown

if TYPE_CHECKING:
    from device.config.sections import WebSettings

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+):([0-9]{1,5})")


def web_faults(web: WebSettings) -> list[str]:
    """Return what is wrong with values that the schema lets pass."""
    problems = []
    if not _ADDRESS.fullmatch(web.listen) or not 0 < listen_address(web.listen)[1] < 65_536:
        problems.append(
            f"[web] listen = {shown('listen', web.listen)}: expected an address and a port: '127.0.0.1:8060'"
        )
    if bool(web.cert_file) != bool(web.key_file):
        problems.append(f"[web] cert_file = {web.cert_file!r}, key_file = {web.key_file!r}: a certificate needs both")
    problems += [
        f"[web] {key} = {shown(key, path, most=200)}: {problem}; expected the path of a PEM file"
        for key, path in (("cert_file", web.cert_file), ("key_file", web.key_file))
        if path and (problem := file_problem(path)) == "no such file"
    ]
    if web.cert_file and web.behind_proxy:
        problems.append("[web] cert_file and behind_proxy: either this page encrypts or the proxy; leave the other out")
    return problems


def listen_address(listen: str) -> tuple[str, int]:
    """Return host and port of an address that has no faults."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
