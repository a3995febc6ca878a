"""Recordings with known truth: a WAV and, beside it, a JSON sidecar that says where in it the speech is.

``tests/fixtures/README.md`` describes the sidecar for whoever adds one.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import soundfile
import soxr
from msgspec import Meta, Struct

from device.edges.wakeword.words import find_words
from device.errors import ModelError, RecordingError
from device.hearing.frames import RATE_HZ, Samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Sample = Annotated[int, Meta(ge=0)]
SampleSpan = tuple[Sample, Sample]  # the first sample, and the first one after


class RequestTruth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One wake word and the request after it.

    Attributes:
        wake_end_sample: the first sample after the wake word.
        start_sample: the first sample of the request.
        end_sample: the first sample after the request.
        wake_start_sample: the first sample of the wake word, where that is known.
        wake_word: the word, where it is another than the recording's.
        text: what is said.
        pauses: the silences inside the request.
    """

    wake_end_sample: Sample
    start_sample: Sample
    end_sample: Sample
    wake_start_sample: Sample | None = None
    wake_word: str | None = None
    text: str = ""
    pauses: tuple[SampleSpan, ...] = ()


class BareWake(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A wake word with nothing said after it."""

    start_sample: Sample
    end_sample: Sample
    wake_word: str | None = None


class Sidecar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The truth about one recording.

    Attributes:
        wake_word: the word that is listened for: a bundled one, or the path of an .onnx file as seen from the sidecar.
        requests: every request, in order of time.
        bare_wakes: wake words that nothing follows.
        channel: which channel holds the voice, from 1.
        about: what the recording shows.
        made_with: how it was made: voice, noise, room and so on; nothing depends on it.
    """

    wake_word: Annotated[str, Meta(min_length=1)]
    requests: tuple[RequestTruth, ...]
    bare_wakes: tuple[BareWake, ...] = ()
    channel: Annotated[int, Meta(ge=1)] = 1
    about: str = ""
    made_with: dict[str, Any] = {}

    def words(self) -> set[str]:
        """Return every wake word that is listened for or said."""
        said: tuple[RequestTruth | BareWake, ...] = (*self.requests, *self.bare_wakes)
        return {self.wake_word, *(one.wake_word or self.wake_word for one in said)}


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording as the pipeline hears it, with its truth.

    Attributes:
        name: the file's name without its ending.
        samples: int16, shape (n,), 16 kHz mono.
        truth: its sidecar; a wake word that is a file is the path from here.
        rate_hz: the file's own rate.
    """

    name: str
    samples: Samples
    truth: Sidecar
    rate_hz: int = RATE_HZ


def load_recordings(folder: Path) -> Iterator[Recording]:
    """Yield, by name, every WAV of ``folder`` that has a sidecar.

    Raises:
        RecordingError: a sidecar is wrong, in one line that names file, key and value; or a WAV cannot be read.
    """
    for wav in sorted(folder.glob("*.wav")):
        sidecar = wav.with_suffix(".json")
        if sidecar.exists():
            yield load_recording(wav, sidecar)


def load_recording(wav: Path, sidecar: Path) -> Recording:
    """Return one recording; see `load_recordings`."""
    truth = _with_words_found(sidecar, read_sidecar(sidecar))
    try:
        # Floats, of which 16 bits come back exactly: as int16, soundfile would cut 24 bits short and not scale floats.
        audio, rate_hz = soundfile.read(wav, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise RecordingError(f"{wav}: {error.error_string}", hint="it must be a WAV file") from error
    if truth.channel > audio.shape[1]:
        raise RecordingError(
            f"{sidecar}: channel = {truth.channel}: the WAV has {audio.shape[1]}", hint="channels count from 1"
        )
    channel = audio[:, truth.channel - 1]
    signal = channel if rate_hz == RATE_HZ else soxr.resample(channel, rate_hz, RATE_HZ)
    samples = np.clip(np.rint(signal * 32768), -32768, 32767).astype(np.int16)
    for key, said in (("requests", truth.requests), ("bare_wakes", truth.bare_wakes)):
        _check_ascending(sidecar, _marks(key, said), len(samples))
    return Recording(wav.stem, samples, truth, rate_hz)


def words_of(recordings: Iterable[Recording]) -> tuple[str, ...]:
    """Return, sorted, every wake word that is listened for or said in any of the recordings."""
    return tuple(sorted({word for recording in recordings for word in recording.truth.words()}))


def name_of(word: str) -> str:
    """Return a wake word's name as scores and tags have it: a path's is the file's without its ending."""
    return Path(word).stem


def read_sidecar(path: Path) -> Sidecar:
    """Return the sidecar in ``path``.

    Raises:
        RecordingError: it is no JSON, or a key is missing, unknown, or has a wrong value.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: {error}", hint="it must be one JSON object") from error
    try:
        return msgspec.convert(raw, Sidecar)
    except msgspec.ValidationError as error:
        raise RecordingError(f"{path}: {_explain(str(error), raw)}") from error


def _with_words_found(path: Path, truth: Sidecar) -> Sidecar:
    """Return the sidecar with each wake word that is a file by its path from here; refuse words that are not there."""

    def found(word: str | None) -> str | None:
        if word is None:
            return None
        here = str(path.parent / word) if word.endswith(".onnx") else word
        try:
            find_words([here])
        except ModelError as error:
            raise RecordingError(f"{path}: wake_word = {json.dumps(word)}: {error.message}", hint=error.hint) from error
        return here

    replace = msgspec.structs.replace
    return replace(
        truth,
        wake_word=found(truth.wake_word),
        requests=tuple(replace(one, wake_word=found(one.wake_word)) for one in truth.requests),
        bare_wakes=tuple(replace(one, wake_word=found(one.wake_word)) for one in truth.bare_wakes),
    )


def _explain(problem: str, raw: object) -> str:
    """Return msgspec's complaint with the key first and the value that it leaves out."""
    what, _, where = problem.partition(" - at `$")
    where = where.rstrip("`")
    value = raw
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", where):
        value = value[name] if name else value[int(index)]  # type: ignore[index]
    unknown = re.search(r"unknown field `(\w+)`", what)
    if unknown:
        known = {field for kind in (Sidecar, RequestTruth, BareWake) for field in kind.__struct_fields__}
        near = difflib.get_close_matches(unknown[1], known, n=1)
        return f"{where}.{unknown[1]}".lstrip(".") + ": unknown key" + (f"; did you mean {near[0]}?" if near else "")
    missing = re.search(r"missing required field `(\w+)`", what)
    if missing:
        return f"{where}.{missing[1]}".lstrip(".") + ": the key is missing"
    return f"{where.lstrip('.') or 'the whole'} = {json.dumps(value)}: {what[0].lower()}{what[1:]}"


def _marks(key: str, said: tuple[RequestTruth | BareWake, ...]) -> Iterator[tuple[str, int]]:
    """Yield each sample that is given, with its key, in what must be the order of time."""
    for number, one in enumerate(said):
        for name in ("wake_start_sample", "wake_end_sample", "start_sample", "end_sample"):
            if (value := getattr(one, name, None)) is not None:
                yield f"{key}[{number}].{name}", value


def _check_ascending(path: Path, marks: Iterator[tuple[str, int]], length: int) -> None:
    """Refuse samples that run backwards or past the recording's end."""
    before_key, before = "the recording's start", 0
    for key, value in marks:
        if value < before:
            raise RecordingError(f"{path}: {key} = {value} lies before {before_key} = {before}")
        if value > length:
            raise RecordingError(f"{path}: {key} = {value}: the recording ends at {length}")
        before_key, before = key, value
