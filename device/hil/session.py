"""What ``pytest --hil`` collects and runs: the checks of each bench first, then every recording, in one session."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from device.config import settings as configuration
from device.errors import RecorderError, UsageError
from device.hil import checks, report
from device.hil.recordings import Recording, load_recording, words_of
from device.hil.rig import Rig, rig
from device.hil.setup import FORMATS, Setup, read_broker, read_format

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = pytest.StashKey["Bench"]()
DELAY_S = 0.3


class Faulty(Exception):  # noqa: N818 - pytest shows it, nobody catches it
    """A recording or a check failed; shown as lines, without a traceback."""


class Bench:
    """The plugin proper, registered with ``--hil`` only: collects, keeps the rigs, and runs one at a time.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        config.stash[STATE] = self
        if config.getoption("numprocesses", None):
            raise pytest.UsageError("--hil plays one recording after another: leave -n out")
        try:
            self.setups = _setups(config)
        except RecorderError as error:
            raise pytest.UsageError(str(error)) from error
        volume, delay_s = config.getoption("hil_volume"), config.getoption("hil_delay")
        if volume is not None and not -60 <= volume <= 30:
            raise pytest.UsageError(f"--hil-volume {volume:g}: it is in dB, from -60 to 30, 0 as recorded")
        if delay_s is not None and not 0 < delay_s <= 60:
            raise pytest.UsageError(f"--hil-delay {delay_s:g}: it is in seconds, above 0 and up to 60")
        self.delay_s: float = DELAY_S if delay_s is None else delay_s
        self.state = {setup.name: checks.BenchState(volume_db=volume) for setup in self.setups}
        self.recordings: list[Recording] = []
        self._stack = ExitStack()
        self._setup: Setup | None = None  # of the bench that is up
        self._rig: Rig | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Pass over everything that is no folder and no WAV."""
        return None if collection_path.is_dir() or collection_path.suffix == ".wav" else True

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> RecordingFile | None:
        """Collect the WAVs that have a sidecar."""
        if file_path.suffix == ".wav" and file_path.with_suffix(".json").exists():
            file: RecordingFile = RecordingFile.from_parent(parent, path=file_path)
            return file
        return None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Put the checks of each bench before its recordings; what -k has left out is out."""
        chosen = [item for item in items if isinstance(item, RecordingItem)]
        if not chosen:
            return
        self.recordings = [item.recording for item in chosen]
        root = Checks.from_parent(session, name="bench")
        items[:] = []
        for setup in self.setups:
            items += [CheckItem.from_parent(root, name=name + _suffix(setup), wiring=setup) for name in checks.CHECKS]
            items += [item for item in chosen if item.wiring is setup]

    def rig(self, setup: Setup) -> Rig:
        """Return the bench of a setup, set up if it is not yet; the one before is taken down."""
        if self._rig is None or self._setup is not setup:
            self.close()
            self._rig, self._setup = self._stack.enter_context(rig(setup, words_of(self.recordings))), setup
        return self._rig

    def close(self) -> None:
        """Take the bench down that is up."""
        self._rig = None
        self._stack.close()

    def pytest_sessionfinish(self) -> None:
        """Take it down."""
        self.close()

    def pytest_report_header(self) -> str:
        """Say what is used."""
        if self.setups[0].virtual:
            return "hil: virtual pair, " + ", ".join(setup.name for setup in self.setups)
        one = self.setups[0]
        microphone = one.settings.microphone.name if one.microphone is None else one.microphone
        return f'hil: loudspeaker "{one.speaker or "default"}", microphone "{microphone or "default"}"'

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Add what pytest-html shows: the picture and the sound of what was heard."""
        made = yield
        if made.when == "call" and isinstance(item, RecordingItem | CheckItem):
            made.extras = [*getattr(made, "extras", []), *item.extras]
        return made

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Any:
        """Leave pictures and sounds out of the JSON lines, which have what was measured."""
        line = yield
        if line:
            line.pop("extras", None)
        return line

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Name the page."""
        report.title = "wakeword-recorder: hardware in the loop"

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add the columns of what was measured."""
        report.add_header(cells)

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        """Add the cells of what was measured."""
        _report_row(report, cells)

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_html(self, report: Any, data: list[str]) -> None:
        """Leave out a log that says nothing, or only what stands in red above the picture."""
        if getattr(report, "extras", []) and not report.sections:
            data.clear()

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Say what was listened with and how to read the page."""
        prefix.append(report.summary(self.pytest_report_header()))


def _report_row(made: Any, cells: list[str]) -> None:
    report.add_row(made.nodeid, dict(getattr(made, "user_properties", [])), cells)


def _suffix(setup: Setup) -> str:
    return f"[{setup.name}]" if setup.name else ""


def _setups(config: pytest.Config) -> list[Setup]:
    """Read the options.

    Raises:
        RecorderError: one of them is wrong, or the configuration is.
    """
    option = config.getoption
    broker = read_broker(option("hil_broker")) if option("hil_broker") else None
    path = Path(option("hil_config")) if option("hil_config") else None
    settings = configuration.load(path) if path else configuration.Settings()
    formats = tuple(dict.fromkeys(map(read_format, option("hil_format")))) or FORMATS
    if option("hil_virtual"):
        for name in ("hil_microphone", "hil_speaker"):
            if option(name):
                raise UsageError(f"--{name.replace('_', '-')} names a real one, --hil-virtual takes none")
        return [Setup(settings, broker=broker, virtual=one) for one in formats]
    if option("hil_format"):
        raise UsageError("--hil-format is a virtual pair's", hint="add --hil-virtual, or leave it out")
    return [Setup(settings, option("hil_microphone"), option("hil_speaker"), broker)]


class RecordingFile(pytest.File):
    """A WAV with its sidecar."""

    def collect(self) -> Iterator[RecordingItem]:
        """Yield it once for each bench."""
        try:
            recording = load_recording(self.path, self.path.with_suffix(".json"))
        except RecorderError as error:
            raise self.CollectError(str(error)) from error
        for setup in self.config.stash[STATE].setups:
            yield RecordingItem.from_parent(
                self, name=recording.name + _suffix(setup), recording=recording, wiring=setup
            )

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:  # noqa: ARG002
        """Show a wrong sidecar as its one line."""
        return str(excinfo.value) if isinstance(excinfo.value, self.CollectError) else super().repr_failure(excinfo)


class Checks(pytest.Collector):
    """What the checks of a bench belong to."""

    def collect(self) -> list[pytest.Item]:
        """Nothing: they are put in later."""
        return []


class _BenchItem(pytest.Item):
    """One thing that a bench does."""

    def __init__(self, *, wiring: Setup, **others: Any) -> None:
        super().__init__(**others)
        self.wiring = wiring
        self.extras: list[Any] = []

    @property
    def bench(self) -> Bench:
        return self.config.stash[STATE]

    def record(self, facts: dict[str, str]) -> None:
        """Leave what was measured for every report: JUnit's properties, the JSON lines, the page."""
        self.user_properties.extend(facts.items())

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Show what is wrong as lines; a traceback only for a mistake of the program."""
        if isinstance(excinfo.value, Faulty | RecorderError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class CheckItem(_BenchItem):
    """A check of the bench itself, before the recordings."""

    def runtest(self) -> None:
        """Run it; whatever is wrong keeps the rest from running."""
        state = self.bench.state[self.wiring.name]
        if state.broken:
            pytest.skip(state.broken)
        check = checks.CHECKS[self.name.partition("[")[0]]
        try:
            outcome = check(self.bench.rig(self.wiring), state, self.bench.recordings, self.bench.delay_s)
        except RecorderError as error:
            state.broken = f"the bench does not work: {error}"
            raise
        self.record(outcome.facts)
        self.add_report_section("call", "measured", "\n".join(outcome.lines))
        if outcome.fault:
            state.broken = f"the bench does not work: {outcome.fault}"
            raise Faulty(outcome.fault)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Say where it comes from."""
        return self.path, None, f"bench: {self.name}"


class RecordingItem(_BenchItem):
    """A recording, played through a bench."""

    def __init__(self, *, recording: Recording, **others: Any) -> None:
        super().__init__(**others)
        self.recording = recording

    def runtest(self) -> None:
        """Play it and judge what comes of it."""
        state = self.bench.state[self.wiring.name]
        if state.broken:
            pytest.skip(state.broken)
        rig = self.bench.rig(self.wiring)
        try:
            take, verdict = checks.play(rig, self.recording, state, self.bench.delay_s)
        except RecorderError as error:
            state.broken = f"the bench stopped working: {error}"
            raise
        self.record(verdict.facts)
        self.extras.extend(report.extras(self.config, self.recording, take, verdict))
        if verdict.faults:
            raise Faulty("\n".join(verdict.faults))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Say where it comes from."""
        return self.path, None, self.name
