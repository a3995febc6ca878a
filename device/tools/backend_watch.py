"""Whether the backend is there: looked at now and then, so that what is wrong is said before somebody speaks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from device.answering.answer import BackendAwayError, NotAnsweredError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from device.answering.answer import Backend
    from device.tools.asking import Asking
    from device.tools.saying import Saying

CHECK_S, CHECK_AWAY_S = 10.0, 2.0  # how often one is looked at that is there, or away


class BackendWatch:
    """Looks at a backend, which also gets ready by it, and says when it comes and goes. One thread.

    Args:
        backend: whom to look at.
        asking: where it is asked.
        say: says it.
    """

    def __init__(self, backend: Backend, asking: Asking, say: Saying) -> None:
        self._backend = backend
        self._asking = asking
        self._say = say
        self._ready = False
        self._check_s = 0.0  # when to look
        self._checked: Future[None] | None = None

    def look(self) -> None:
        """Look if it is time to; never waits.

        Raises:
            ConfigurationError: it will never take us.
        """
        if self._checked is None:
            if time.monotonic() >= self._check_s:
                self._checked = self._asking.begin(self._backend.check())
            return
        if not self._checked.done():
            return
        checked, self._checked = self._checked, None
        try:
            checked.result()
        except (BackendAwayError, NotAnsweredError) as error:
            self.away(str(error))
        else:
            self.back()
        self._check_s = time.monotonic() + (CHECK_S if self._ready else CHECK_AWAY_S)

    def away(self, problem: str) -> None:
        """Note that it did not answer."""
        self._ready = False
        self._say.problem("backend", "backend-away", problem)

    def back(self) -> None:
        """Note that it answered."""
        if not self._ready:
            self._ready = True
            self._say.over("backend")
            self._say("backend-ready", f"{self._backend.name} is there")
