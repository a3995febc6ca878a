"""wakeword-recorder: hears a wake word, records the request, tags it with the review choice, publishes it."""

__version__ = "0.2.0"
