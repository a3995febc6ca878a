"""The graph from samples to features that carries its state from call to call: made once, and the cache that keeps it.

What it is and how it is made: see ``rewriting``.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from typing import TYPE_CHECKING

from device.edges.wakeword import rewriting
from device.errors import ModelError
from device.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

REWRITING = "2"  # to be changed with the way of rewriting, so that an older cache is not taken for this one's
REWRITING_LIMIT_S = 60.0  # it takes 0.4 s, longer from a slow SD card; systemd waits 90 s for a start

_HINT = 'install openwakeword==0.4.0, or set engine = "reference"'
_SOURCES = ("melspectrogram.onnx", "embedding_model.onnx")
_DIGEST_BYTES = hashlib.sha256().digest_size


def load_graph(folder: Path, cache_dir: Path | None) -> bytes:
    """Return the rewritten graph as the bytes of an ONNX model, from the cache if it is there and whole.

    Inputs: ``spans`` float32 (n, 1, 1, SPAN_SAMPLES), the samples that the rows of each frame depend on; ``heard`` bool
    (n, 8, 1), false for a row before the stream's start, which is taken as ones; ``state_0`` and on, float32 (1,
    channels, 2, width). Outputs: ``features`` float32 (n, 96), and ``next_0`` and on, in the shapes of the states.

    Args:
        folder: openwakeword's models.
        cache_dir: where the graph is kept; made if it is missing. None: it is rewritten at every call.

    Raises:
        ModelError: a source cannot be read, or is not the network that can be rewritten.
    """
    sources = [folder / name for name in _SOURCES]
    if cache_dir is None:
        return rewrite(*sources)
    path = cache_dir / f"features-{_digest(sources)}.onnx"
    graph = _read(path)
    if graph is None:
        graph = rewrite(*sources)
        _keep(path, graph)
    return graph


def _digest(sources: Sequence[Path]) -> str:
    """Return the SHA-256 of the sources and of the way of rewriting, in hex."""
    digest = hashlib.sha256(REWRITING.encode())
    for source in sources:
        try:
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ModelError(f"{source}: {error.strerror}", hint="install openwakeword==0.4.0 anew") from error
    return digest.hexdigest()


def _read(path: Path) -> bytes | None:
    """Return the graph kept in a file, or None if there is none or it is not what was written."""
    try:
        with path.open("rb") as file:
            digest, graph = file.read(_DIGEST_BYTES), file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("cannot read %s (%s); the wake word features' graph is rewritten", path, error.strerror)
        return None
    if hashlib.sha256(graph).digest() != digest:
        log.warning("%s is damaged; the wake word features' graph is rewritten", path)
        return None
    return graph


def _keep(path: Path, graph: bytes) -> None:
    """Write the graph after its digest, at once or not at all; without a writable folder it is rewritten next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # No secret: a command run as root must not lock the daemon's user out of it.
        write_whole(path, hashlib.sha256(graph).digest() + graph, mode=0o644)
    except OSError as error:
        log.warning("cannot write %s (%s); the graph is rewritten at the next start too", path, error.strerror)


def rewrite(melspectrogram: Path, embedding: Path) -> bytes:
    """Make the graph of ``load_graph`` from openwakeword's two models, in a process of its own, for its memory.

    Raises:
        ModelError: they are not the models of openwakeword 0.4.0, or the process failed.
    """
    import subprocess  # late: for once in a daemon's life

    command = [sys.executable, "-P", rewriting.__file__, str(melspectrogram), str(embedding)]
    try:
        # A session of its own: Ctrl-C is for the daemon, which then ends in its own time.
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=REWRITING_LIMIT_S,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"the wake word models cannot be rewritten: {error}", hint=_HINT) from error
    if done.returncode == 0:
        return done.stdout
    lines = done.stderr.decode(errors="replace").splitlines() or [f"the process ended with {done.returncode}"]
    raise ModelError(f"the models of the installed openwakeword cannot be rewritten to stream: {lines[-1]}", hint=_HINT)
