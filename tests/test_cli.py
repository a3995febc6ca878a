"""The command line: what each command prints, its exit status, and one line for every mistake."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.broker import Broker
from support.daemon import PROGRAM, Daemon, Device

from device.hil.virtual import virtual_microphone

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
COMMANDS = [
    "run",
    "demo",
    "check",
    "devices",
    "meter",
    "wake",
    "explain",
    "review",
    "microphone",
    "outbox",
    "history",
    "web",
    "receive",
]


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


@pytest.fixture
def waiting(device):
    """A device with one request that waits."""
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
    return device


def program(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)


def test_the_version_and_the_table_of_commands_are_shown():
    assert "0." in program("--version").stdout
    shown = program("--help").stdout
    assert all(f"  {command}  " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_the_common_options(command):
    done = program(command, "--help")
    assert done.returncode == 0
    assert "--config" in done.stdout
    assert "--log-format" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [("rum",), ("run", "--pace", "slow"), ("review",), ("review", "opt-aut"), ("--nothing",), ("run", "stray")],
)
def test_wrong_usage_is_one_line_and_status_2(arguments):
    done = program(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "--help" in done.stderr


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon"])
@pytest.mark.parametrize(
    "command", [("run", "--drain-timeout"), ("outbox", "send", "--timeout"), ("receive", "--timeout")]
)
def test_a_time_that_never_ends_is_wrong_usage(command, seconds):
    done = program(*command, seconds)
    assert done.returncode == 2
    assert command[-1] in done.stderr
    assert done.stderr.count("\n") == 1


def test_demo_takes_no_configuration():
    done = program("demo", "--config", "x")
    assert done.returncode == 2
    assert "own configuration" in done.stderr


def test_a_wrong_configuration_is_status_78_with_a_line_for_each_error(device):
    device.config.write_text("[wake]\nthreshold = 7\n[mqtt]\nprot = 1\n")
    for command in ("run", "check", "devices", "receive"):
        done = device.call(command)
        assert done.returncode == 78, command
        assert len(done.stderr.splitlines()) == 2
        assert "did you mean 'port'" in done.stderr
    done = device.call("run", "--log-format", "json")
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["error", "error"]


@pytest.mark.parametrize("content", [None, b"not a model", b""], ids=["missing", "text", "empty"])
def test_a_model_path_that_is_no_model_is_status_78_and_one_line(tmp_path, content):
    path = tmp_path / "hey_pi.onnx"
    if content is not None:
        path.write_bytes(content)
    done = Device(tmp_path, wake=f'words = ["{path}"]').call("run", "--input", REQUEST)
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert "model" in done.stderr
    assert str(path) in done.stderr


# In /proc nobody can make a folder, root neither.
@pytest.mark.parametrize("path", ["/proc/wakeword-recorder", "/tmp/" + 300 * "x"], ids=["proc", "long"])  # noqa: S108
def test_a_state_folder_that_cannot_be_written_is_status_78_and_one_line(tmp_path, path):
    device = Device(tmp_path)
    device.config.write_text(f'[device]\nstate_dir = "{path}"\n')
    for command in (("run", "--input", REQUEST), ("review", "status"), ("check",)):
        done = device.call(*command)
        assert done.returncode == 78
        assert "Traceback" not in done.stderr + done.stdout
        assert path in done.stderr + done.stdout


def test_a_model_that_is_not_there_is_told_by_commands_that_need_none(device):
    """Else whoever checks the configuration with them takes it for right."""
    device.config.write_text('[wake]\nwords = ["/none/hey_pi.onnx"]\npatience = 0\n')
    for command in (("review", "status"), ("outbox", "list")):
        done = device.call(*command)
        assert done.returncode == 78
        assert len(done.stderr.splitlines()) == 2
        assert "/none/hey_pi.onnx" in done.stderr


def test_the_review_choice_is_shown_and_changed_and_every_text_says_that_recording_goes_on(device):
    before = json.loads(device.call("review", "status", "--json").stdout)
    assert before == {"opt_out": True, "choice": "default", "revision": 0, "changed_at": None}
    for action in (("opt-in", "--yes"), ("opt-out",), ("status",)):
        done = device.call("review", *action)
        assert done.returncode == 0
        assert "does not stop recording" in done.stdout
    status = json.loads(device.call("review", "status", "--json").stdout)
    assert (status["opt_out"], status["choice"], status["revision"]) == (True, "user", 2)


def test_what_was_read_with_the_last_choice_is_shown_again(device):
    chosen = device.call("review", "opt-in", "--yes").stdout.splitlines()
    assert chosen[1].startswith("People may listen to what this device records from now on, and it may train models.")
    assert device.call("review", "status").stdout.splitlines()[1] == chosen[1]


@pytest.mark.parametrize(("answer", "status", "opted_out"), [("y\n", 0, False), ("n\n", 1, True), ("", 2, True)])
def test_opt_in_asks_first(device, answer, status, opted_out):
    assert device.call("review", "opt-in", input=answer).returncode == status
    assert json.loads(device.call("review", "status", "--json").stdout)["opt_out"] is opted_out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("run", "--pace", "slow"), 2, "'--pace'"),
        (("run", "--log-format=json", "--pace", "slow"), 2, "'--pace'"),
        (("outbox", "list"), 0, "0 waiting"),
        (("devices",), 0, "input device|none has"),
        (("explain", REQUEST, "--plot", "{folder}/plot.png"), 0, "drawn: "),
        (("review", "opt-in"), 2, "Opt in"),
        (("review", "status"), 0, "damaged"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_everything_on_standard_error_is_one_json_object_a_line_if_asked_for(tmp_path, arguments, status, said):
    device = Device(tmp_path, microphone='name = "no such thing"')
    if said == "damaged":  # of which the store tells by itself
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "recorder.db").write_text("no database")
    log_format = () if "--log-format=json" in arguments else ("--log-format", "json")
    done = device.call(*(str(argument).format(folder=tmp_path) for argument in arguments), *log_format, input="")
    assert done.returncode == status
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(line["time"] and line["level"] and line["message"] for line in lines)
    assert any(re.search(said, line["message"]) for line in lines)


def test_what_demo_says_is_json_too_if_asked_for_and_warns_of_nothing(tmp_path):
    done = program("demo", "--save-to", tmp_path, "--log-format", "json")
    assert done.returncode == 0
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in said[:2]] == [f"requests are saved in {tmp_path}", "the daemon hears demo.wav:"]
    assert {line["level"] for line in said} == {"info"}
    assert [line["id"] for line in said if line.get("event") == "sent"] == [path.stem for path in tmp_path.iterdir()]


def test_demo_names_its_folder_before_anything_else_and_keeps_the_last_request_there(tmp_path):
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    folder = tmp_path / "wakeword-recorder" / "demo"
    for _ in range(2):
        done = subprocess.run([PROGRAM, "demo"], env=env, capture_output=True, text=True, check=True)
        assert done.stderr.startswith(f"requests are saved in {folder}\n")
        assert "WARNING" not in done.stderr
        (file,) = folder.iterdir()
        assert done.stdout.endswith(f"The request: {file}\n")


def test_demo_works_where_nobody_has_a_home_folder(tmp_path):
    (tmp_path / "file").touch()
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([PROGRAM, "demo"], env=env, capture_output=True, text=True, check=True)
    assert Path(done.stdout.rsplit("The request: ")[1].strip()).read_bytes()[:4] == b"RIFF"
    assert f"requests are saved in {tmp_path}/wakeword-recorder-demo-" in done.stderr


def test_an_interrupted_question_ends_with_130_and_without_a_line_that_is_no_json(device):
    pipe = subprocess.PIPE
    command = device.command("review", "opt-in", "--log-format", "json")
    with subprocess.Popen(command, env=device.env, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert "Opt in?" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [("review", "status"), ("explain", REQUEST), ("meter", "--input", REQUEST, "--pace", "fast"), ("run", "--help")],
    ids=lambda arguments: arguments[0],
)
def test_output_that_cannot_be_written_is_one_line_and_status_1(device, arguments, unbuffered):
    options = {"capture_output": False, "stderr": subprocess.PIPE, "env": device.env | {"PYTHONUNBUFFERED": unbuffered}}
    with Path("/dev/full").open("w") as full:
        done = device.call(*arguments, stdout=full, **options)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output cannot be written: No space left on device; ")
    assert done.stderr.count("\n") == 1


def test_an_option_of_another_action_is_refused(device):
    for arguments in (("review", "opt-out", "--yes"), ("outbox", "list", "--all"), ("microphone", "mute", "--json")):
        assert device.call(*arguments).returncode == 2


def test_mute_is_kept(device):
    device.call("microphone", "mute")
    status = json.loads(device.call("microphone", "status", "--json").stdout)
    assert status["muted"] is True
    assert status["since"]
    device.call("microphone", "unmute")
    assert device.call("microphone", "status").stdout.startswith("not muted")


def test_the_outbox_is_listed_and_deleted_by_id(waiting):
    (item,) = [json.loads(line) for line in waiting.call("outbox", "list", "--json").stdout.splitlines()]
    assert item["wake_word"] == "hey_jarvis"
    assert waiting.call("outbox", "delete", "no-such-id").returncode == 2
    assert waiting.call("outbox", "delete").returncode == 2
    assert waiting.call("outbox", "delete", item["id"]).stdout == "1 deleted\n"
    assert waiting.call("outbox", "list").stdout == ""


def test_what_lies_in_a_damaged_database_is_shown_by_list_and_check_and_deleted_by_a_command(waiting):
    database = waiting.folder / "state" / "recorder.db"
    database.write_bytes(b"no database any more, but perhaps with sound in it " * 1000)
    listed = waiting.call("outbox", "list", "--log-format", "json")
    assert listed.stdout == ""
    shown = [json.loads(line)["message"] for line in listed.stderr.splitlines()]
    (name,) = [path.name for path in database.parent.glob("recorder.db.unreadable-*")]
    assert any(
        f"an unknown number of requests that cannot be read, in a damaged database, {name} (0.1 MB)" in each
        for each in shown
    )
    assert any("outbox delete --damaged" in each for each in shown)
    state = json.loads(waiting.call("check", "--json").stdout.splitlines()[1])
    assert name in state["found"]
    assert waiting.call("outbox", "delete", "--damaged", "--all").returncode == 2
    assert waiting.call("outbox", "delete", "--damaged").stdout == "1 damaged database deleted\n"
    assert waiting.call("outbox", "delete", "--damaged").stdout == "0 damaged databases deleted\n"
    assert "damaged" not in waiting.call("outbox", "list").stderr
    assert not list(database.parent.glob("recorder.db.*-*Z"))


def receiving(device, *arguments):
    """Start `receive`; it is subscribed once this returns."""
    process = subprocess.Popen(
        device.command("receive", "--log-format", "json", *arguments),
        env=device.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "subscribed" in process.stderr.readline()
    return process


def test_the_outbox_is_sent_now_or_says_that_the_broker_is_away(waiting, tmp_path):
    assert waiting.call("outbox", "send", "--timeout", "0.2").returncode == 69
    with Broker(tmp_path) as broker:
        waiting.config.write_text(waiting.config.read_text().replace("port = 1\n", f"port = {broker.port}\n"))
        with receiving(waiting, "--count", "1", "--save-to", tmp_path / "got") as receiver:
            assert waiting.call("outbox", "send").returncode == 0
            received = json.loads(receiver.communicate(timeout=30)[0])
    assert Path(received["file"]).read_bytes()[:4] == b"RIFF"
    assert waiting.call("outbox", "list").stdout == ""


def test_a_running_daemon_sends_what_the_command_asks_for(tmp_path):
    with Broker(tmp_path) as broker:
        device = Device(tmp_path, broker.port)
        with Daemon(device, "--input", REQUEST, "--drain-timeout", 60, "--pace", "fast") as daemon:
            daemon.wait_for("not-sent")  # nobody is subscribed
            with receiving(device, "--count", "1") as receiver:
                assert device.call("outbox", "send").returncode == 0
                daemon.wait_for("sent")
                receiver.communicate(timeout=30)


HOLD = """
import os, sys; from pathlib import Path; from device.edges.lock import DaemonLock
DaemonLock(Path(sys.argv[1])).take(0); (Path(sys.argv[1]) / "daemon.lock").write_text(sys.argv[2])
print("held", flush=True); sys.stdin.read()
"""


@contextlib.contextmanager
def held_lock(device, number):
    """Somebody holds the daemon's lock; the number in its file is any process's."""
    command = [sys.executable, "-c", HOLD, device.folder / "state", str(number)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def test_asking_the_daemon_harms_no_process_whatever_number_stands_in_the_locks_file(waiting):
    with subprocess.Popen(["sleep", "60"]) as bystander:
        for number in (bystander.pid, 99_999_999, "rubbish", ""):
            with held_lock(waiting, number):
                done = waiting.call("outbox", "send", "--timeout", "0.3")
            assert done.returncode == 69
            assert "1 waiting for 127.0.0.1:1: the running daemon" in done.stderr
            assert "Traceback" not in done.stderr
        assert bystander.poll() is None
        bystander.kill()


def test_a_daemon_that_ends_while_it_is_asked_to_send_leaves_it_to_the_command(waiting, tmp_path):
    with Broker(tmp_path) as broker, held_lock(waiting, 1) as holder:
        waiting.config.write_text(waiting.config.read_text().replace("port = 1\n", f"port = {broker.port}\n"))
        with receiving(waiting, "--count", "1") as receiver:
            sending = subprocess.Popen(
                waiting.command("outbox", "send"), env=waiting.env, stderr=subprocess.PIPE, text=True
            )
            assert "is asked to send" in sending.stderr.readline()
            holder.kill()
            assert sending.wait(30) == 0
            receiver.communicate(timeout=30)
        sending.stderr.close()


def test_a_request_that_stays_says_why(waiting, tmp_path):
    with Broker(tmp_path) as broker:
        waiting.config.write_text(waiting.config.read_text().replace("port = 1\n", f"port = {broker.port}\n"))
        done = waiting.call("outbox", "send", "--timeout", "2")
    assert done.returncode == 69
    assert "nobody is subscribed" in done.stderr.splitlines()[-1]


def test_check_names_each_part_and_fails_for_what_does_not_work(device):
    done = device.call("check")
    rows = {line[8:21].strip(): line[:6].strip() for line in done.stdout.splitlines()}
    assert done.returncode == 69
    assert (rows["models"], rows["broker"], rows["review"]) == ("ok", "FAILED", "ok")


def test_check_passes_with_a_microphone_and_a_broker(tmp_path):
    with Broker(tmp_path) as broker, virtual_microphone() as microphone:
        device = Device(tmp_path, broker.port)
        device.env |= microphone.env
        with microphone.playing(REQUEST.with_name("near-misses.wav")):  # long enough for a slow machine
            done = device.call("check", "--json")
        rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
        assert done.returncode == 0, done.stdout
        assert "dBFS" in rows["microphone"]["found"]
        assert "MQTT 5" in rows["broker"]["found"]
        device.call("microphone", "mute")
        muted = {row["name"]: row for row in map(json.loads, device.call("check", "--json").stdout.splitlines())}
        assert "not opened" in muted["microphone"]["found"]


@pytest.mark.parametrize("offset", [0, 1500])
def test_a_microphone_that_gives_one_number_for_ever_fails_the_check_offset_or_not(tmp_path, offset):
    with virtual_microphone() as microphone:
        device = Device(tmp_path)
        device.env |= microphone.env
        constant = tmp_path / "constant.wav"
        soundfile.write(constant, np.full(60 * 16_000, offset, np.int16), 16_000)
        with microphone.playing(constant):
            done = device.call("check", "--json")
        rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
        assert not rows["microphone"]["ok"]
        assert "gives only silence (digital silence)" in rows["microphone"]["found"]


def test_a_microphone_that_clips_passes_the_check_with_a_warning(tmp_path):
    with virtual_microphone() as microphone:
        device = Device(tmp_path)
        device.env |= microphone.env
        loud = tmp_path / "loud.wav"
        soundfile.write(loud, np.clip(3 * np.sin(np.arange(60 * 16_000) / 7), -1, 1), 16_000)
        with microphone.playing(loud):
            done = device.call("check", "--json")
        rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
        assert rows["microphone"]["ok"]
        assert "it clips" in rows["microphone"]["found"]


def test_devices_marks_the_configured_one(tmp_path):
    with virtual_microphone() as microphone:
        device = Device(tmp_path, microphone='name = "virtual"')
        device.env |= microphone.env
        lines = device.call("devices").stdout.splitlines()
    assert [line for line in lines if line.startswith("*")] == [line for line in lines if "Virtual Microphone" in line]


def test_a_reader_that_goes_away_gives_no_traceback(waiting):
    line = f"{' '.join(waiting.command('outbox', 'list'))} | true"
    done = subprocess.run(line, shell=True, env=waiting.env, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_completion_is_offered():
    env = {**os.environ, "_WAKEWORD_RECORDER_COMPLETE": "bash_source"}
    assert "complete" in subprocess.run([PROGRAM], env=env, capture_output=True, text=True, check=False).stdout


def test_the_daemon_starts_without_what_it_does_not_use(tmp_path):
    """A microphone's daemon with a warm cache imports none of the heavy packages."""
    device = Device(tmp_path)
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
    heavy = ["onnx", "sklearn", "scipy", "openwakeword", "rich", "matplotlib", "soundfile", "asyncio"]
    code = (
        "import sys; from device.__main__ import main\n"
        f"try: main({device.command('run')[1:]!r})\n"
        f"finally: print([name for name in {heavy!r} if name in sys.modules])"
    )
    pipe = subprocess.PIPE
    python = PROGRAM.with_name("python")
    with subprocess.Popen([python, "-c", code], env=device.env, stdout=pipe, stderr=pipe, text=True) as process:
        next(line for line in process.stderr if "microphone" in line)
        process.terminate()
        assert process.stdout.read().strip() == "[]"


@pytest.mark.parametrize("engine", ["streaming", "reference"])
def test_nothing_is_written_outside_state_and_cache_and_nothing_is_told_to_anybody(tmp_path, engine):
    """onnxruntime 1.32 left a device id and notes for its maker in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    device = Device(tmp_path, wake=f'engine = "{engine}"')
    device.env |= {"HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}  # nothing is there yet
    device.env.pop("ORT_DISABLE_TELEMETRY", None)
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
    assert [path for path in tmp_path.rglob("*") if "icrosoft" in path.name or home in path.parents] == []
    kept = [path.name for path in (tmp_path / "cache").glob("*")]
    assert kept == (
        ["wakeword-recorder"] if engine == "streaming" else []
    )  # the other one's networks are not rewritten
