"""What a file is that was taken for an ONNX model: judged by its first bytes, none of it ever run or unpickled."""

from __future__ import annotations

import pickletools
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD_BYTES = 4096
_EXPORT = "export it as .onnx; openWakeWord's training writes one beside it"
_TEXT_BYTES = frozenset(range(0x20, 0x100)) | set(b"\t\n\r\f")
_FIRST_FIELD = b"\x08"  # the version of the format, in protobuf: what every exporter writes first

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, which stands in the model's place",
        "`git lfs pull` there fetches the model, or download the file itself",
    ),
    (b"\x1f\x8b", "a gzip archive", "unpack it and take the .onnx in it"),
    (b"BZh", "a bzip2 archive", "unpack it and take the .onnx in it"),
    (b"\xfd7zXZ", "an xz archive", "unpack it and take the .onnx in it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it and take the .onnx in it"),
    (b"Rar!", "a RAR archive", "unpack it and take the .onnx in it"),
    (b"\x89HDF", "a Keras model in HDF5", "convert it to .onnx, with tf2onnx"),
    (b"\x93NUMPY", "a NumPy array", "a model for openWakeWord is an .onnx file"),
    (b"RIFF", "a sound or another RIFF file", "a model for openWakeWord is an .onnx file"),
    (b"\x78\x9c", "compressed data, such as joblib's", "a model for openWakeWord is an .onnx file"),
)


def diagnosis(path: Path) -> tuple[str, str]:
    """Return what a file is that onnxruntime cannot read.

    Returns:
        What it is, to follow the file's name, and what to do; both empty where it may be an ONNX model after all.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    size = path.stat().st_size
    if not head.strip(b"\0"):
        return ("is empty" if not head else "holds only zeros"), "download or copy it again"
    if head[4:8] == b"TFL3":
        onnx = path.with_suffix(".onnx")
        beside = f"{onnx} beside it may be it" if onnx.is_file() and onnx != path else "ask for its .onnx"
        return (
            "is a TensorFlow Lite model (.tflite)",
            f"only .onnx is used here, which openWakeWord writes too; {beside}",
        )
    for beginning, what, advice in _BEGINNINGS:
        if head.startswith(beginning):
            return f"is {what}", advice
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return _pickle(head)
    if _is_text(head):
        return _text(head)
    missing = _missing_bytes(head, size)
    if missing:
        return f"is cut off: {size} bytes, and at least {missing} are missing", "download or copy it again"
    return "", ""


def _archive(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "is a ZIP archive, a damaged one", "a model for openWakeWord is an .onnx file"
    if any(name.endswith("data.pkl") for name in names):
        return "is a PyTorch file (.pt, .pth)", _EXPORT
    model = next((name for name in names if name.endswith(".onnx")), "")
    if model:
        return f"is a ZIP archive with {model!r} in it", "unpack it and add that"
    return "is a ZIP archive without an .onnx in it", "a model for openWakeWord is an .onnx file"


def _pickle(head: bytes) -> tuple[str, str]:
    """Distinguish two kinds of pickles by the names in them: reading them out runs nothing."""
    names = " ".join(_strings(head))
    if "sklearn" in names:
        return (
            "is a Python pickle of scikit-learn, as openWakeWord's custom verifier models are",
            "they only check a wake word model's hits for one speaker, and are not used here; add the model's .onnx",
        )
    if "torch" in names or b"\xfc\x9cF\xf9 j\xa8P\x19." in head:  # the number that PyTorch begins with
        return "is a PyTorch file (.pt, .pth)", _EXPORT
    return "is a Python pickle", "which could run anything and is not opened; a model for openWakeWord is an .onnx file"


def _strings(head: bytes) -> Iterator[str]:
    try:
        for _, argument, _ in pickletools.genops(head):
            if isinstance(argument, str):
                yield argument
    except (ValueError, UnicodeDecodeError):  # the rest of it is not in the head
        return


def _is_text(head: bytes) -> bool:
    return _TEXT_BYTES.issuperset(head) or head.startswith((b"\xff\xfe", b"\xfe\xff"))


def _text(head: bytes) -> tuple[str, str]:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    if start.startswith(b"<") and (b"<html" in start or b"<!doctype html" in start or b"<head" in start):
        return "is a web page, saved in the model's place", "download the file itself: on GitHub by `Download raw file`"
    if start.startswith((b"<", b"{")):
        return "is XML or JSON, perhaps a server's answer", "look into it, and download the file itself"
    return "is text", "a model for openWakeWord is an .onnx file"


def _missing_bytes(head: bytes, size: int) -> int:
    """Return how many bytes a cut-off ONNX model lacks at least; 0: none, or it is no such file at all."""
    at = 0
    while head.startswith(_FIRST_FIELD) and at < len(head):
        key, at = _varint(head, at)
        match key & 7:
            case 0:  # a number
                _, at = _varint(head, at)
            case 1:  # 64 bits
                at += 8
            case 2:  # something with its length in front: nearly all of a model is one such field, the graph
                length, at = _varint(head, at)
                at += length
            case 5:  # 32 bits
                at += 4
            case _:
                return 0
        if at > size:
            return at - size
    return 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that stands at a place, and the place after it; beyond the data's end it is past that."""
    value = shift = 0
    for number in data[at : at + 10]:
        at += 1
        value |= (number & 0x7F) << shift
        shift += 7
        if number < 0x80:
            return value, at
    return 0, len(data) + 1
