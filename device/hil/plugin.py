"""The pytest plugin's door: adds ``--hil`` and its options, and does and imports nothing else without ``--hil``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.config.argparsing import Parser


def pytest_addoption(parser: Parser) -> None:
    """Add the options, a group of their own."""
    group = parser.getgroup("hil", "wakeword-recorder: hardware in the loop")
    add = group.addoption
    add("--hil", action="store_true", help="play recordings into the microphone and judge what reaches the broker")
    add("--hil-virtual", action="store_true", help="through a virtual pair (PulseAudio), at each --hil-format")
    add(
        "--hil-format",
        action="append",
        default=[],
        metavar="RATExCHANNELS",
        help="of the virtual pair; may be repeated (default: 16000x1 and 48000x2)",
    )
    add("--hil-config", metavar="FILE", help="the configuration to test (default: the built-in defaults)")
    add("--hil-microphone", metavar="NAME", help="a part of its name (default: the configured one)")
    add("--hil-speaker", default="", metavar="NAME", help="a part of its name (default: the system's default)")
    add("--hil-broker", metavar="HOST[:PORT]", help="(default: the configured one, else a mosquitto of its own)")
    add("--hil-volume", type=float, metavar="DB", help="play so much louder or softer (default: a sweep finds it)")
    add(
        "--hil-delay",
        type=float,
        metavar="S",
        help="how long a request may take from the end of speech to the broker, beyond silence_s (default: 0.3)",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """With ``--hil`` bring in what does the work."""
    if not config.getoption("hil"):
        return
    try:
        import scipy.signal  # noqa: F401
    except ImportError as error:
        raise pytest.UsageError("--hil needs scipy: pip install 'wakeword-recorder[hil]'") from error
    from device.hil.session import Bench

    config.pluginmanager.register(Bench(config), "wakeword-recorder-hil")
