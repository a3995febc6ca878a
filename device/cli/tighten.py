"""What tightens, opting out and muting, needs only the state folder: no mistake in the configuration is in its way."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

from device.cli.announce import Announcer
from device.cli.common import open_store, report, warn, warn_of_state
from device.config import settings as configuration
from device.config import state_folder as config_state
from device.errors import ConfigurationError, RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from device.cli.announce import RetainedState
    from device.config.settings import Settings
    from device.edges.store import Store


def tighten(explicit: Path | None, log_format: str, action: Callable[[Store], RetainedState]) -> int:
    """Act on the state that the configuration names, or if that cannot be used, on all that it may mean.

    Args:
        explicit: the configuration named on the command line.
        log_format: how standard error is written.
        action: changes the state, prints what is so now, and returns it as the broker shows it.

    Returns:
        The exit status, 0 only if everything that may be meant was changed.

    Raises:
        RecorderError: nothing was changed.
    """
    try:
        settings = configuration.load(explicit)
    except ConfigurationError as error:
        return _in_spite_of(error, explicit, log_format, action)
    _act(settings, log_format, action, usable=True)
    return 0


def _in_spite_of(
    error: ConfigurationError, explicit: Path | None, log_format: str, action: Callable[[Store], RetainedState]
) -> int:
    """Act without a whole configuration; what is wrong with it becomes a warning."""
    from device.edges.store import holds_state

    found = config_state.state_folders(explicit)
    folders = [folder for folder in found.folders if found.certain or holds_state(folder)]
    if not folders:
        looked = f" (looked in {', '.join(map(str, found.folders))})" if found.folders else ""
        nothing = f"nothing was changed: without the configuration nobody knows the state folder{looked}"
        raise ConfigurationError([*error.problems, nothing])
    for problem in error.problems:
        warn(problem, log_format)

    def act(folder: Path) -> int:
        try:
            _act(config_state.settings_for(folder, explicit), log_format, action, usable=False)
        except RecorderError as failure:
            report(failure, log_format)
            return failure.exit_status
        sure = "" if found.certain else ", which holds a state; which folder is meant the configuration does not say"
        warn(
            f"this was done all the same, in {folder}{sure}; correct the configuration for everything else", log_format
        )
        return 0

    statuses = [act(folders[0])] if len(folders) == 1 else [_in_child(act, folder) for folder in folders]
    return next((status for status in statuses if status), 0)


def _act(settings: Settings, log_format: str, action: Callable[[Store], RetainedState], *, usable: bool) -> None:
    broker = Announcer(settings, usable=usable)
    with open_store(settings) as store:
        state = action(store)
        warn_of_state(settings, log_format)
    broker.show(state, log_format)


def _in_child(act: Callable[[Path], int], folder: Path) -> int:
    """Act in a process of its own: root gives itself up for the owner of a folder, and the next may be another's."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        status = act(folder)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - nothing above may go on in two processes
        traceback.print_exc()
    os._exit(status)
