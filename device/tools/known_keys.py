"""Whose signatures are believed: public keys from a file, and the check of a request against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.edges import signing
from device.edges.flac import flac_tag_text
from device.errors import TagError, UsageError
from device.message import envelope, signature

if TYPE_CHECKING:
    from pathlib import Path

    from device.message.tag import Tag

_MOST_BYTES = 1_000_000


class KnownKeys:
    """The keys of devices.

    Args:
        file: a line of JSON for each device, as `review key` prints it.

    Raises:
        UsageError: it cannot be read, or holds something else.
        RecorderError: PyNaCl is not installed.
    """

    def __init__(self, file: Path) -> None:
        signing.need_library()
        try:
            with file.open("rb") as opened:
                self._keys = signature.parse_keys(opened.read(_MOST_BYTES))
        except OSError as error:
            raise UsageError(f"--key {str(file)!r}: {error.strerror}", hint="a file of public keys") from error
        except UsageError as error:
            raise UsageError(f"--key {str(file)!r}: {error.message}", hint=error.hint) from error

    def check(self, tag: Tag, payload: bytes) -> None:
        """See to it that a request is as its device sent it; its sound is, if it has the tag's hash.

        Args:
            tag: what was read from the payload.
            payload: the file, checked already but for its signature.

        Raises:
            TagError: the device has no key here, or the tag is not signed with it.
        """
        key = self._keys.get(tag.device)
        if key is None:
            raise TagError(f"nobody gave the key of the device {tag.device!a}", hint="add it to --key's file")
        is_wav = envelope.content_type(payload) == "audio/wav"
        message, signed = signature.parts((envelope.wav_tag_text if is_wav else flac_tag_text)(payload))
        if not signing.fits(key, message, signed):
            raise TagError(f"the signature of {tag.id} does not fit its tag and the key of {tag.device!a}")
