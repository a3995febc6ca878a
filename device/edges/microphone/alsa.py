"""What ALSA's configuration says of a PCM: whether a sound server stands behind it, and which source it is tied to."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

SERVER_TYPES = ("pulse", "pipewire")
_SOURCE_KEYS = ("device", "capture_node")  # of the pulse plug-in and of PipeWire's, where -1 means any


@dataclass(frozen=True, slots=True)
class Definition:
    """A PCM's definition.

    Attributes:
        type: ALSA's name of the plug-in, such as ``hw``, ``plug``, ``pulse``; empty: it has no definition of its own.
        source: the sound server's source that it is tied to; empty: none.
    """

    type: str = ""
    source: str = ""

    @property
    def is_server(self) -> bool:
        """Whether a sound server stands behind it."""
        return self.type in SERVER_TYPES


def definition_of(pcm: str) -> Definition:
    """Look a PCM up in ALSA's configuration; call it where PortAudio is loaded, which holds the configuration."""
    try:
        library = ctypes.CDLL("libasound.so.2")
    except OSError:
        return Definition()
    node = ctypes.c_void_p()
    library.snd_config_update()
    top = ctypes.c_void_p.in_dll(library, "snd_config")
    if library.snd_config_search_definition(top, b"pcm", pcm.encode(), ctypes.byref(node)) < 0:
        return Definition()
    try:
        sources = [_text(library, node, key) for key in _SOURCE_KEYS]
        return Definition(_text(library, node, "type"), next((name for name in sources if name not in ("", "-1")), ""))
    finally:
        library.snd_config_delete(node)


def _text(library: ctypes.CDLL, node: ctypes.c_void_p, key: str) -> str:
    leaf, text = ctypes.c_void_p(), ctypes.c_char_p()
    if library.snd_config_search(node, key.encode(), ctypes.byref(leaf)) < 0:
        return ""
    if library.snd_config_get_string(leaf, ctypes.byref(text)) < 0 or text.value is None:
        return ""
    return text.value.decode(errors="backslashreplace")
