"""Has espeak-ng say a text and tells where each word begins, which its command does not.

A process of its own for each text: the library keeps a state, so that a second text would sound otherwise than a first.
Standard output: a line of JSON, then the sound as int16.
"""

import ctypes
import json
import sys

# Of espeak-ng's speak_lib.h.
SYNCHRONOUS, WORD_EVENT, UTF8, BY_CHARACTER = 2, 1, 1, 1
RATE, PITCH = 1, 3
BUFFER_MS = 200


class Event(ctypes.Structure):
    """What the library tells of the sound that it gives."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def main(voice: str, words_per_minute: int, pitch: int, text: str) -> int:
    """Say it; return the exit status."""
    library = ctypes.CDLL("libespeak-ng.so.1")
    rate_hz = library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, None, 0)
    sound, words = bytearray(), []

    def hear(samples, count, events) -> int:  # type: ignore[no-untyped-def]
        if samples and count > 0:
            sound.extend(ctypes.string_at(samples, 2 * count))
        number = 0
        while (event := events[number]).type:
            if event.type == WORD_EVENT:
                words.append((event.text_position - 1, event.sample))  # positions count from 1
            number += 1
        return 0

    callback = Callback(hear)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()):
        print(f"espeak-ng has no voice {voice}", file=sys.stderr)
        return 1
    library.espeak_SetParameter(RATE, words_per_minute, 0)
    library.espeak_SetParameter(PITCH, pitch, 0)
    encoded = text.encode() + b"\0"
    library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, BY_CHARACTER, 0, UTF8, None, None)
    sys.stdout.buffer.write(json.dumps({"rate_hz": rate_hz, "words": words}).encode() + b"\n" + sound)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
