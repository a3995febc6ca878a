"""FLAC files with the tag among their Vorbis comments, written and read in memory with soundfile."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from device.errors import TagError
from device.hearing.frames import RATE_HZ
from device.message.envelope import PRODUCT, parse_tag, tag_json

if TYPE_CHECKING:
    from device.message.tag import Tag

MAX_DURATION_S = 600  # a FLAC of silence unpacks to thousands of times its size; no request is as long as this
_BLOCK_SAMPLES = 65_536


def flac(tag: Tag, pcm: bytes, *, version: str) -> bytes:
    """Return a FLAC file that carries what ``envelope.wav`` puts into its INFO list.

    The comments are named ``comment``, ``date``, ``software`` and ``artist``; libsndfile adds its name to the software.

    Args:
        tag: written as JSON into ``comment``.
        pcm: 16-bit little-endian samples, 16 kHz mono, at least one.
        version: of this program.

    Raises:
        ValueError: there are no samples; libsndfile writes nothing, not even a header, before the first one.
    """
    import soundfile

    if not pcm:
        raise ValueError("a FLAC file needs at least one sample")

    memory = io.BytesIO()
    with soundfile.SoundFile(memory, "w", RATE_HZ, 1, "PCM_16", format="FLAC") as file:
        file.comment = tag_json(tag)
        file.date = tag.captured_at
        file.software = f"{PRODUCT} {version}"
        file.artist = tag.device
        file.buffer_write(pcm, "int16")
    return memory.getvalue()


def flac_tag_text(payload: bytes) -> bytes:
    """Return the tag of a FLAC file as ``flac`` writes it, as it stands there.

    Raises:
        TagError: it is no FLAC file.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            return bytes(file.comment.encode())
    except soundfile.LibsndfileError as error:
        raise TagError(f"FLAC file: {error.error_string}") from None


def read_flac(payload: bytes) -> tuple[Tag, bytes]:
    """Read a FLAC file as ``flac`` writes it.

    Returns:
        The tag, and the PCM as 16-bit little-endian samples, 16 kHz mono.

    Raises:
        TagError: it is no such file, is damaged, is too long, or carries no tag.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            kind = (file.format, file.subtype, file.samplerate, file.channels)
            if kind != ("FLAC", "PCM_16", RATE_HZ, 1):
                raise TagError(f"FLAC file: its audio is {kind}", hint="16-bit, 16 kHz mono is expected")
            tag = parse_tag(file.comment.encode())
            pcm = bytearray()
            while block := bytes(file.buffer_read(_BLOCK_SAMPLES, "int16")):
                pcm += block
                if len(pcm) > 2 * RATE_HZ * MAX_DURATION_S:
                    raise TagError(f"FLAC file: longer than {MAX_DURATION_S} s", hint="no request is")
    except soundfile.LibsndfileError as error:
        raise TagError(f"FLAC file: {error.error_string}") from None
    return tag, bytes(pcm)
