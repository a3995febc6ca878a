"""The wake words that come with openwakeword, and what a word may be named."""

from __future__ import annotations

BUNDLED_WORDS = ("alexa", "hey_jarvis", "hey_marvin", "hey_mycroft")
BUTTON = "button"  # stands in the wake word's place where somebody pressed one instead of saying it
LONGEST_NAME = 128  # characters


def name_problem(name: str) -> str:
    """Return why a wake word cannot have a name, which stands in tags and in MQTT's strings; empty if it can."""
    if not name.isprintable():
        return f"a control character, or another that cannot be printed, is in the name {name!a}"
    return f"a name of {len(name)} characters; a tag holds at most {LONGEST_NAME}" if len(name) > LONGEST_NAME else ""


def model_name_problem(name: str) -> str:
    """Return why a model of one's own cannot have a name; empty if it can."""
    return f"the name {BUTTON!r} stands for a button that is pressed" if name == BUTTON else name_problem(name)
