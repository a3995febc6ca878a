"""Synthetic voices, split into those learnt from and those judged on, and what they say."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from support.scenes import PAUSED_REQUESTS, REQUESTS
from support.speech import FLITE_VOICES, Voice

if TYPE_CHECKING:
    import numpy as np

    from training.recordings import Side

ACCENTS = ("en", "en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
VARIANTS = (
    "", "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt3",
    "klatt4", "adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "AnxiousAndy", "aunty", "belinda",
    "benjamin", "boris", "caleb", "david", "Denis", "Diogo", "ed", "edward", "Gene", "Gene2", "grandma", "grandpa",
    "Henrique", "Hugo", "iven", "iven2", "Jacky", "john", "Lee", "linda", "marcelo", "Marco", "Mario", "max", "Michael",
    "michel", "miguel", "Mike", "Nguyen", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro",
    "shelby", "steph", "steph2", "steph3", "Storm", "travis", "victor", "zac", "anika",
)  # fmt: skip
SHORT = (
    "stop", "yes", "off", "no", "pause", "lights", "louder", "next", "cancel", "help", "go", "mute", "up", "five",
    "on", "in", "if", "out", "open", "again", "enough", "a bit more", "is it late", "it hurts", "add milk", "end it",
    "all of it", "ask him", "one", "two", "ten", "what", "who", "where", "when", "why", "which", "how", "hello",
    "her", "half", "first", "four", "six", "three", "thanks", "save", "start", "skip", "so", "sing", "shut up",
    "play", "back", "down", "time", "dim", "turn", "call", "left", "right", "music", "news", "weather", "radio",
    "volume", "wait", "quiet", "repeat",
)  # fmt: skip
# Half of the short texts are of syllables that no language has, so that no sound after the wake word is a new one.
ONSETS = (
    "", "", "", "b", "bl", "br", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "h", "j", "k", "kl", "kr", "kw",
    "l", "m", "n", "p", "pl", "pr", "r", "s", "sh", "sk", "sl", "sm", "sn", "sp", "st", "str", "sw", "t", "th", "tr",
    "v", "w", "y", "z",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ee", "oo", "ai", "ow", "oy", "ar", "or", "er")
CODAS = (
    "", "", "b", "d", "f", "ft", "g", "k", "ks", "l", "m", "n", "nd", "ng", "p", "s", "sh", "st", "t", "th", "v", "z",
)  # fmt: skip
SPEEDS = (118, 130, 145, 160, 180, 195)  # few, so that the cache of what was said is soon warm
PITCHES = (35, 50, 50, 65)
_FLITE = 0.3  # of the voices drawn
_JUDGED_FLITE = "rms"


class Talkers:
    """The synthetic voices of one side.

    Args:
        side: a fifth of espeak-ng's variants and one of flite's voices are only judged on.
    """

    def __init__(self, side: Side) -> None:
        judged = side == "judge"
        self._flite = [voice for voice in FLITE_VOICES if (voice.name == _JUDGED_FLITE) is judged]
        self._variants = [one for one in VARIANTS if (zlib.crc32(one.encode()) % 5 == 0) is judged]

    def voice(self, rng: np.random.Generator) -> Voice:
        """Draw a voice."""
        speed = int(rng.choice(SPEEDS))
        if rng.random() < _FLITE:
            return replace(self._flite[rng.integers(len(self._flite))], words_per_minute=speed)
        name = f"{rng.choice(ACCENTS)}+{rng.choice(self._variants)}".rstrip("+")
        return Voice(synthesiser="espeak-ng", name=name, words_per_minute=speed, pitch=int(rng.choice(PITCHES)))

    def text(self, rng: np.random.Generator) -> str:
        """Draw what is said after a wake word; ``|`` stands where the talker pauses."""
        kind = rng.random()
        if kind < 0.2:
            return _invent(rng)
        if kind < 0.4:
            return str(rng.choice(SHORT))
        return str(rng.choice(PAUSED_REQUESTS if kind < 0.6 else REQUESTS))


def _invent(rng: np.random.Generator) -> str:
    """Return one or two syllables."""
    syllables = ("".join(rng.choice(part) for part in (ONSETS, VOWELS, CODAS)) for _ in range(rng.integers(1, 3)))
    return "".join(syllables)
