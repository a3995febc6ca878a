"""``wake``: the wake words at hand, a new one's model, and whether one is heard."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from device.cli.common import common_options, open_store, refuse_unless, remark, warn
from device.config import settings as configuration
from device.config.words import models_in, word_names
from device.errors import UsageError
from device.hearing.tuning import UNCHANGED

if TYPE_CHECKING:
    from device.config.settings import Settings
    from device.hearing.tuning import Tuning
    from device.tools.own_words import Word


@click.command("wake")
@click.argument("action", type=click.Choice(["list", "add", "try", "reset"]))
@click.argument("target", required=False, metavar="[FILE|WORD]")
@click.option("--name", metavar="WORD", help="add: the word it is for, instead of the file's name.")
@click.option("--force", is_flag=True, help="add: replace a model of this name.")
@click.option(
    "--input",
    "inputs",
    metavar="WAV",
    type=click.Path(path_type=Path),
    multiple=True,
    help="try: hear a recording instead of the microphone; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; list: one object a line.")
@common_options
def command(
    action: str,
    target: str | None,
    *,
    name: str | None,
    force: bool,
    inputs: tuple[Path, ...],
    as_json: bool,
    config: Path | None,
    log_format: str,
) -> int:
    """List the wake words at hand, add a model of one's own, try one, or undo what was changed over MQTT.

    list: the bundled words and the models in [wake] models_dir; a star marks those that the configuration listens for.
    It says what counts where something was changed over MQTT.

    add FILE: check that an .onnx file is a wake word model of openWakeWord, and copy it into [wake] models_dir under
    its word's name. The configuration stays as it is.

    try WORD: say it five times, from where you will say it. It shows the level and the score of each, whether it was
    heard and whether the bare word gave silence; then a threshold that this suggests. Ctrl-C ends it with what is known
    so far. Nothing is recorded, kept or sent.

    reset: what was changed over MQTT counts no more; a running recorder sees that at once.
    """
    refuse_unless(action == "add", name, "--name", "add")
    refuse_unless(action == "add", force, "--force", "add")
    refuse_unless(action == "try", inputs, "--input", "try")
    refuse_unless(action in ("add", "try"), target, "a file or a word", "add or try")
    refuse_unless(action != "reset", as_json, "--json", "list, add or try")
    settings = configuration.load(config, any_words=True)
    if action == "list":
        return _list(settings, log_format, as_json=as_json)
    if action == "reset":
        return _reset(settings)
    if not target:
        what = "an .onnx file" if action == "add" else "a word"
        raise UsageError(f"{action} takes {what}", hint="see `wakeword-recorder wake --help`")
    if action == "try":
        from device.cli.wake_try import Tryout

        return Tryout(target, settings, log_format, as_json=as_json).run(inputs)
    _add(Path(target), settings, name=name, replace=force, as_json=as_json)
    return 0


def _list(settings: Settings, log_format: str, *, as_json: bool) -> int:
    from device.tools.own_words import words_at_hand

    words = words_at_hand(settings, tuning := _tuning(settings))
    width = min(max(len(word.word) for word in words), 24)
    for word in words:
        click.echo(msgspec.json.encode(word).decode() if as_json else _line(word, width))
    if not as_json:
        folder = configuration.models_dir(settings)
        _, problem = models_in(folder)
        problem = f" ({problem})" if problem else ""
        if tuning != UNCHANGED:
            warn("changed over MQTT; `wakeword-recorder wake reset` undoes it", log_format)
        remark(f"models of your own: `wakeword-recorder wake add FILE` puts them into {folder}{problem}", log_format)
    return 0


def _tuning(settings: Settings) -> Tuning:
    """Return what counts of what was changed over MQTT; without the right to, nothing is looked for."""
    if not settings.wake.allow_remote_changes:
        return UNCHANGED
    from device import build

    with open_store(settings) as store:
        return build.tuning_that_counts(settings, store)


def _reset(settings: Settings) -> int:
    with open_store(settings) as store:
        undone = store.tunings.reset()
    click.echo("nothing was changed over MQTT" if undone == UNCHANGED else "undone: the configuration counts again")
    return 0


def _line(word: Word, width: int) -> str:
    threshold = "" if word.threshold is None else f"threshold {word.threshold:.2f}"
    where = "bundled" if word.bundled else word.path or ""
    problem = f"  CANNOT BE USED: {word.problem}" if word.problem else ""
    if word.counts_from != word.threshold:
        where += f"  over MQTT: {'not listened for' if word.counts_from is None else f'{word.counts_from:.2f}'}"
    return f"{'*' if word.configured else ' '} {word.word:{width}}  {threshold:14}  {where}{problem}".rstrip()


def _add(file: Path, settings: Settings, *, name: str | None, replace: bool, as_json: bool) -> None:
    from device.tools.own_words import add, configuration_file, written_words

    added = add(file, settings, name=name, replace=replace)
    if as_json:
        click.echo(msgspec.json.encode(added).decode())
        return
    click.echo(f"added: {added.path}")
    click.echo(
        f"It hears {added.window_s:.2f} s at a time, and scores {added.idle_score:.3f} at most in silence and noise, "
        f'{added.speech_score:.3f} in talk that has "hey jarvis" in it.'
    )
    where = configuration_file(settings)
    if added.word in word_names(settings.wake.words):
        click.echo(f"{where} listens for it already, from the recorder's next start on.")
    else:
        words = msgspec.json.encode([*written_words(settings), added.word]).decode()
        click.echo(
            f"To listen for it, put this under [wake] into {where}, and restart the recorder:\n\nwords = {words}\n"
        )
    click.echo(f"Try it: wakeword-recorder wake try {shlex.quote(added.word)}")
