"""The retained states that commands change: the running daemon publishes them, without one the command does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from device.cli.common import warn
from device.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from device.config.settings import Settings
    from device.edges.mqtt import LinkSettings
    from device.edges.store import Mute
    from device.message.review import ReviewState


@dataclass(frozen=True, slots=True)
class RetainedState:
    """A retained state: the topic's level and its payload."""

    level: str
    payload: bytes


def review_state(review: ReviewState) -> RetainedState:
    """Return the state that shows a review choice."""
    return RetainedState("review", msgspec.json.encode(review))


def microphone_state(mute: Mute) -> RetainedState:
    """Return the state that shows a mute; not muted, it is what the daemon left, beside ``status`` offline."""
    state = {"state": "muted" if mute.muted else "listening", "since": mute.since}
    return RetainedState("microphone", msgspec.json.encode(state))


class Announcer:
    """The broker as a command needs it; made before root gives itself up, which alone may read the password.

    Args:
        settings: the configuration.
        usable: is it whole? Else nothing is known of the broker.
    """

    def __init__(self, settings: Settings, *, usable: bool = True) -> None:
        from device import build

        self._folder: Path = build.state_dir(settings)
        self._link: LinkSettings | None = None
        self._problem = "the configuration cannot be used"
        if usable:
            try:
                self._link = build.link_settings(settings, role="state")
            except ConfigurationError as error:
                self._problem = error.problems[0]

    def show(self, state: RetainedState, log_format: str) -> None:
        """Have the broker show a state that was just changed, or say that it does not; blocks for some seconds.

        Args:
            state: what was changed.
            log_format: how standard error is written.
        """
        from device.edges.lock import DaemonLock

        if DaemonLock(self._folder).holder() is not None:
            return  # it sees the change in the database
        problem = self._problem
        if self._link is not None:
            from device.edges.mqtt import publish_once

            topic = f"{self._link.base_topic}/{state.level}"
            failed = publish_once(self._link, topic, state.payload, retain=True)
            if failed is None:
                return
            problem = failed
        warn(f"the broker may still show the state from before, until the daemon starts: {problem}", log_format)
