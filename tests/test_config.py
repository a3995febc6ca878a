"""The configuration: every error at once, each saying what would be right."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.config import settings as config
from device.config.web import listen_address
from device.config.words import word_names
from device.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[1] / "config" / "config.toml"
HERE = Path("config.toml")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        config.validate(tomllib.loads(text), HERE)
    return list(caught.value.problems)


@pytest.fixture
def closed(tmp_path):
    """A folder that one may not enter, while this runs as nobody in particular."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o000)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)


@pytest.fixture
def homeless(monkeypatch):
    """No HOME, no entry in passwd."""

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(variable, raising=False)


def test_the_documented_file_states_every_default():
    documented, default = config.load(EXAMPLE), config.Settings()
    assert {name: getattr(documented, name) for name in config.SECTIONS} == {
        name: getattr(default, name) for name in config.SECTIONS
    }


def test_the_documented_file_names_every_key():
    text = EXAMPLE.read_text()
    for name, schema in config.SECTIONS.items():
        section = text.split(f"[{name}]")[1].split("\n[")[0]
        for key in schema.__struct_fields__:
            assert f"{key} = " in section, f"[{name}] {key}"


def test_all_errors_come_at_once_with_file_section_key_and_value():
    found = problems('[wake]\nthreshold = 2\ngaet = true\n[mqtt]\nport = 99999\n[mqt]\nhost = "x"\n')
    assert len(found) == 4
    assert all(problem.startswith("config.toml: ") for problem in found)
    assert any("[wake] threshold = 2:" in problem and "1.0" in problem for problem in found)
    assert any("[mqtt] port = 99999:" in problem for problem in found)
    assert any("[wake] gaet = true: unknown key" in problem for problem in found)
    assert any("""[mqt] = {"host":"x"}: unknown section""" in problem for problem in found)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[wake]\ngaet = true", "did you mean 'gate'"),
        ("[wak]\ngate = true", "did you mean 'wake'"),
        ('[wake]\nwords = ["hey_jarvs"]', "did you mean 'hey_jarvis'"),
        ('[wake]\nengine = "streeming"', "did you mean 'streaming'"),
        ('[mqtt]\nformat = "flak"', "did you mean 'flac'"),
    ],
)
def test_a_close_name_is_suggested(text, meant):
    assert meant in problems(text)[0]


@pytest.mark.parametrize("value", ['"6"', "5", "[]"])
def test_a_choice_is_refused_with_its_values_named_once(value):
    (problem,) = problems(f"[mqtt]\nprotocol = {value}")
    meant = ", did you mean '5'?" if value == "5" else ""
    value = value.replace('"', "'")
    assert problem == f"config.toml: [mqtt] protocol = {value}: expected one of 'auto', '5', '3.1.1'{meant}"


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b'\xef\xbb\xbf[device]\r\nid = "cellar"\r\n')
    assert config.load(path).device.id == "cellar"


@pytest.mark.parametrize("value", ["a/b", "a+b", "a#b", "", "A", "x" * 65, "a b", "a\\n"])
def test_a_device_id_that_is_no_topic_level_is_refused(value):
    assert "topic level" in problems(f'[device]\nid = "{value}"')[0]


@pytest.mark.parametrize("value", ["/a", "a/", "a//b", "a/#", "+", "a b", ""])
def test_a_prefix_that_cannot_be_published_to_is_refused(value):
    assert "topic levels" in problems(f'[mqtt]\ntopic_prefix = "{value}"')[0]


def test_one_wrong_key_does_not_hide_a_contradiction():
    found = problems('[wake]\npatience = 0\n[mqtt]\ncert_file = "x.pem"')
    assert any("patience" in problem for problem in found)
    assert any("client certificate needs both" in problem for problem in found)


@pytest.mark.parametrize(
    "text",
    [
        '[mqtt]\npassword = "hunter2"',
        '[mqt]\npassword = "hunter2"',
        '[[mqt]]\npassword = "hunter2"',
        'mqtt_pass = ["hunter2"]',
    ],
)
def test_a_password_in_the_configuration_is_refused_and_not_shown(text):
    found = problems(text)
    assert "hunter2" not in found[0]
    assert "(not shown)" in found[0]


def test_a_password_in_its_section_is_told_where_it_belongs():
    assert "did you mean 'password_file'" in problems('[mqtt]\npassword = "hunter2"')[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[wake]\nthreshold = {hey_jarvs = 0.6}", "threshold.hey_jarvs = 0.6: not among words, did you mean"),
        ('[mqtt]\ntls = true\ncert_file = "/x"', "cert_file = '/x', key_file = '': a client certificate needs both"),
        ('level = "debug"', "level = 'debug': unknown section"),
    ],
)
def test_an_error_shows_the_value(text, said):
    assert any(said in problem for problem in problems(text))


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ("127.0.0.1:1883", "host = '127.0.0.1', port = 1883"),
        ("mqtt://localhost", "host = 'localhost'"),
        ("mqtts://pi.local:8883/", "host = 'pi.local', port = 8883, tls = true"),
        ("[::1]:1883", "host = '::1', port = 1883"),
        ("local host", "a name or an address alone"),
        ("mqtt://me:hunter2@pi", "host = '(not shown)@pi': expected a name or an address alone: host = 'pi'"),
    ],
)
def test_a_host_is_a_name_or_an_address_without_scheme_port_or_login(host, right):
    (found,) = problems(f'[mqtt]\nhost = "{host}"')
    assert right in found.replace("mqtt://(", "(")
    assert "hunter2" not in found


@pytest.mark.parametrize("host", ["localhost", "pi.local.", "10.0.0.1", "::1", "fe80::1%eth0", "2001:db8::1", "küche"])
def test_a_host_may_be_any_name_and_any_address(host):
    assert config.validate({"mqtt": {"host": host}}, HERE).mqtt.host == host


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("[hooks]\non_wake = \"aplay -q 'my chime.wav'\"", 'expected a list of texts: ["aplay","-q","my chime.wav"]'),
        ('[wake]\nwords = "alexa"', 'expected a list of texts: ["alexa"]'),
        ('[hooks]\non_sent = ["sh", 3]', "expected text, got whole number"),
        ('[hooks]\non_sent = ["a\\u0000b"]', "without a NUL character"),
        ('[hooks]\non_sent = ["", "x"]', "expected a program and its arguments, or [] for none"),
        ("[hooks]\ntimeout_s = 0", "expected number >= 0.1"),
        ("[hooks]\non_wke = []", "did you mean 'on_wake'"),
    ],
)
def test_a_program_is_a_list_of_texts(text, right):
    (problem,) = problems(text)
    assert right in problem


def test_a_hooks_program_that_is_a_path_counts_from_the_files_folder(tmp_path):
    document = tomllib.loads('[hooks]\non_wake = ["./chime", "./a.wav"]\non_sent = ["~/x"]\non_stored = ["true"]')
    hooks = config.validate(document, tmp_path / "config.toml").hooks
    assert hooks.on_wake == (str(tmp_path / "chime"), "./a.wav")
    assert hooks.on_sent == (str(Path.home() / "x"),)
    assert hooks.commands == {"on_wake": hooks.on_wake, "on_stored": ("true",), "on_sent": hooks.on_sent}


def test_thresholds_by_word_leave_the_default_to_the_others():
    settings = config.validate(
        tomllib.loads('[wake]\nwords = ["alexa", "hey_jarvis"]\nthreshold = {alexa = 0.7}'), HERE
    )
    assert config.thresholds(settings.wake) == (0.7, 0.5)


def test_a_model_file_is_a_word_named_after_it():
    assert word_names(("alexa", "/models/hey_pi.onnx")) == ("alexa", "hey_pi")


def test_not_toml_and_not_utf8_name_the_file(tmp_path):
    for content in (b"[wake\n", b"\xff\xfe\x00"):
        path = tmp_path / "config.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=str(path)):
            config.load(path)


def test_a_named_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        config.load(tmp_path / "none.toml")


def test_a_hostname_that_is_no_topic_level_becomes_one(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Küche.Fritz.box")
    assert config.Settings().device.id == "k-che"


FILE_KEYS = ("password_file", "ca_file", "cert_file", "key_file")


def with_paths(value):
    """A document in which every file is this one."""
    files = {"tls": True, "username": "x", **dict.fromkeys(FILE_KEYS, value)}
    return {"mqtt": files, "wake": {"words": [f"{value}.onnx", "hey_jarvs"]}}


def problems_of(document, path=HERE):
    with pytest.raises(ConfigurationError) as caught:
        config.validate(document, path)
    return list(caught.value.problems)


def test_a_model_that_is_not_there_is_told_with_all_other_errors():
    found = problems('[wake]\nwords = ["/none/hey_pi.onnx", "hey_jarvs"]\npatience = 0')
    assert any("[wake] words = '/none/hey_pi.onnx': no such file; expected the path of" in problem for problem in found)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/" + "x" * 5000, "cannot be read: File name too long"),
        ("/x\0y", "NUL"),
        ("~nosuchuser/x", "home folder of ~nosuchuser"),
        ("/dev", "not a file"),
        ("/none/x", "no such file"),
    ],
)
def test_a_path_that_cannot_be_used_is_a_line_for_each_key(path, said):
    found = problems_of(with_paths(path))
    for key in FILE_KEYS:
        assert any(f"config.toml: [mqtt] {key} = " in problem and said in problem for problem in found), key
    assert any("[wake] words = " in problem and said.replace("not a", "no such") in problem for problem in found)
    assert not any("\n" in problem for problem in found)


def test_a_file_in_a_folder_that_one_may_not_enter_is_a_line_for_each_key(closed):
    found = problems_of(with_paths(str(closed / "x")))
    assert sum("cannot be read: Permission denied" in problem for problem in found) == 5


@pytest.mark.parametrize("value", ["/x\0y", "~nosuchuser/x"])
def test_a_state_folder_that_is_no_path_is_refused(value):
    (found,) = problems_of({"device": {"state_dir": value}})
    assert found.startswith("config.toml: [device] state_dir = ")


def test_a_path_that_the_locale_cannot_write_is_refused(monkeypatch):
    monkeypatch.setattr("os.fsencode", lambda path: path.encode("ascii"))
    found = problems_of({"device": {"state_dir": "/küche"}})
    assert "state_dir = '/küche': holds characters" in found[0]


def test_home_and_relative_paths_become_real_ones(tmp_path, monkeypatch):
    """So that a command finds the same files from wherever it is run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("there", "there.onnx"):
        (tmp_path / name).touch()
    for value, path in (("~/there", Path("/etc/config.toml")), ("there", tmp_path / "config.toml")):
        settings = config.validate(with_paths(value) | {"device": {"state_dir": value}} | {
            "wake": {"words": ["alexa", f"{value}.onnx"]}}, path)  # fmt: skip
        real = str(tmp_path / "there")
        assert [getattr(settings.mqtt, key) for key in FILE_KEYS] == [real] * 4
        assert settings.device.state_dir == real
        assert settings.wake.words == ("alexa", f"{real}.onnx")


@pytest.mark.parametrize("system", [True, False])
def test_a_configuration_that_may_not_be_looked_for_is_an_error_and_never_the_defaults(closed, monkeypatch, system):
    monkeypatch.setattr(config, "SYSTEM_PATH", (closed if system else Path("/none")) / "config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(closed))
    with pytest.raises(ConfigurationError, match=r"config\.toml: cannot be read: Permission denied") as caught:
        config.load()
    assert len(caught.value.problems) == 1


def test_without_a_home_the_state_folder_has_to_be_named(homeless, monkeypatch):
    monkeypatch.setattr(config, "SYSTEM_PATH", Path("/none/config.toml"))
    with pytest.raises(ConfigurationError, match=r"defaults: \[device\] state_dir: .* set HOME"):
        config.load()
    assert config.validate({"device": {"state_dir": "/x"}}, HERE).device.state_dir == "/x"
    assert "~" in problems_of({"device": {"state_dir": "~/x"}})[0]
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/x")
    assert config.load().device.state_dir == "/var/lib/x"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The system's configuration file, its state folder (not made yet), and nobody's variables."""
    monkeypatch.setattr(config, "SYSTEM_PATH", tmp_path / "config.toml")
    monkeypatch.setattr(config, "SYSTEM_STATE", tmp_path / "state")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    config.SYSTEM_PATH.write_text("[wake]\n")
    return tmp_path


def test_commands_with_the_systems_configuration_use_the_services_state(system, monkeypatch):
    """Else an opt-out by sudo would be written into root's own folder, and the service would never see it."""
    state = system / "state"
    assert config.load().device.state_dir != str(state)
    state.mkdir()
    assert config.load().device.state_dir == str(state)
    config.SYSTEM_PATH.write_text('[device]\nstate_dir = "/elsewhere"\n')
    assert config.load().device.state_dir == "/elsewhere"


def test_root_uses_the_services_state_before_the_service_has_ever_run(system, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert config.load().device.state_dir == str(system / "state")


def test_the_services_folder_counts_where_the_file_names_none(system, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(system / "state"))
    assert config.load().device.state_dir == str(system / "state")
    own = system / "own.toml"
    own.write_text("")
    assert config.load(own).device.state_dir == str(system / "state")


def test_a_file_that_names_another_state_folder_than_systemds_is_refused(system, monkeypatch):
    """The service would use systemd's, a command by sudo the file's: an opt-out would succeed and change nothing."""
    monkeypatch.setenv("STATE_DIRECTORY", str(system / "state"))
    own = system / "own.toml"
    own.write_text('[device]\nstate_dir = "/elsewhere"\n[wake]\npatience = 0\n')
    with pytest.raises(ConfigurationError) as caught:
        config.load(own)
    patience, state = caught.value.problems
    assert "patience" in patience
    assert state.startswith(f"{own}: [device] state_dir = '/elsewhere': ")
    assert f"STATE_DIRECTORY = '{system}/state'" in state
    assert "leave the key out" in state
    assert "systemctl edit" in state


def test_a_file_may_name_systemds_own_folder_however_it_is_written(system, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(system / "state"))
    (system / "link").symlink_to(system / "state")
    for name in ("state", "link", "./other/../state"):
        config.SYSTEM_PATH.write_text(f'[device]\nstate_dir = "{name}"\n')
        config.load()


def test_another_folder_of_systemds_has_to_be_named_for_the_commands(system, monkeypatch):
    """They would use the usual one."""
    monkeypatch.setenv("STATE_DIRECTORY", str(system / "other"))
    with pytest.raises(ConfigurationError, match=r"state' by default: .* write state_dir = '.*/other'"):
        config.load()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([*config.SECTIONS, "mqt"]),
        values
        | st.dictionaries(
            st.sampled_from(sorted({key for schema in config.SECTIONS.values() for key in schema.__struct_fields__})),
            values,
            max_size=4,
        ),
        max_size=4,
    )
)
def test_any_document_gives_settings_or_only_documented_errors(document):
    try:
        config.validate(document, HERE)
    except ConfigurationError as error:
        assert error.problems
        assert all(problem.startswith("config.toml: ") and "\n" not in problem for problem in error.problems)


@given(st.binary(max_size=200))
def test_any_file_gives_settings_or_only_documented_errors(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "config.toml"
    path.write_bytes(content)
    try:
        config.load(path)
    except ConfigurationError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('home_assistant = "ha:8123"', "no http:// or https://; expected its address, such as 'http://homeassistant"),
        ('home_assistant = "http://ha:99999"', "Port out of range"),
        ('home_assistant = "http://a..b"', "no host can have this name"),
        ('home_assistant = "http://h a"', "spaces belong into no address"),
        ('home_assistant = "http://ha?x"', "a question mark or # does not belong there"),
        ('wyoming = "tcp://stt"', "the port is missing; expected a server's address, such as 'tcp://localhost:10300'"),
        ('wyoming = "stt:10300"', "no tcp:// and a host behind it"),
        ('wyoming = "tcp://stt:10300/x"', "it ends with the port"),
        ('wyoming = "tcp://stt:0"', "there is no port 0"),
        ('home_assistant = "http://ha"\nwyoming = "tcp://stt:1"', "one of them answers; leave the other out"),
        ('password_file = "/x"', "a username is needed with it"),
        ('language = "in English"', "expected a language, such as 'en' or 'de-CH'"),
        ('devices = ["Kitchen"]', "topic level"),
        ('token = "abc"', "did you mean 'token_file'"),
    ],
)
def test_who_answers_is_named_by_an_address_that_can_be_one(text, said):
    (problem,) = problems(f"[answer]\n{text}")
    assert said in problem
    assert "abc" not in problem


def test_a_login_in_an_address_is_not_shown():
    (problem,) = problems('[answer]\nhome_assistant = "http://kim:hunter2@ha"')
    assert "a login does not belong there" in problem
    assert "hunter2" not in problem


def test_the_tokens_file_counts_from_the_configurations_folder_and_need_not_be_there():
    """A recorder records, whatever is wrong with its answers."""
    settings = config.validate(tomllib.loads('[answer]\ntoken_file = "token"'), Path("/etc/x/config.toml"))
    assert settings.answer.token_file == "/etc/x/token"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('listen = "8060"', "expected an address and a port: '127.0.0.1:8060'"),
        ('listen = "http://kitchen:8060"', "expected an address and a port"),
        ('listen = "127.0.0.1:0"', "expected an address and a port"),
        ('listen = "127.0.0.1:65536"', "expected an address and a port"),
        ('listen = "::1:8060"', "expected an address and a port"),
        ('hosts = ["http://kitchen.lan"]', "expected a name alone"),
        ('hosts = "kitchen.lan"', 'expected a list of texts: ["kitchen.lan"]'),
        ('cert_file = "/proc/self/stat"', "a certificate needs both"),
        ('cert_file = "/nowhere"\nkey_file = "/proc/self/stat"', "no such file; expected the path of a PEM file"),
        ('cert_file = "/proc/self/stat"\nkey_file = "/proc/self/stat"\nbehind_proxy = true', "leave the other out"),
        ("idle_s = 0.5", "expected"),
        ("idle = 5", "did you mean 'idle_s'?"),
    ],
)
def test_what_cannot_be_in_web_is_said_with_what_would_be_right(text, said):
    (problem,) = problems(f"[web]\n{text}")
    assert said in problem


@pytest.mark.parametrize("listen", ["127.0.0.1:8060", "[::1]:8060", "0.0.0.0:80", "kitchen.lan:8443"])
def test_an_address_of_the_page_is_a_host_and_a_port(listen):
    config.validate({"web": {"listen": listen}}, None)
    host, port = listen_address(listen)
    assert f"{host}:{port}" == listen.replace("[", "").replace("]", "")
