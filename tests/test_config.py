"""The configuration: every error at once, each saying what would be right."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import config
from device.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[1] / "config" / "config.toml"
HERE = Path("config.toml")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        config.validate(tomllib.loads(text), HERE)
    return list(caught.value.problems)


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


def test_a_password_in_the_configuration_is_refused_and_not_shown():
    found = problems('[mqtt]\npassword = "hunter2"')
    assert "hunter2" not in found[0]
    assert "password_file" in found[0]


def test_thresholds_by_word_leave_the_default_to_the_others():
    settings = config.validate(
        tomllib.loads('[wake]\nwords = ["alexa", "hey_jarvis"]\nthreshold = {alexa = 0.7}'), HERE
    )
    assert config.thresholds(settings.wake) == (0.7, 0.5)


def test_a_model_file_is_a_word_named_after_it():
    assert config.word_names(("alexa", "/models/hey_pi.onnx")) == ("alexa", "hey_pi")


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


def test_commands_with_the_systems_configuration_use_the_services_state(tmp_path, monkeypatch):
    """Else an opt-out by sudo would be written into root's own folder, and the service would never see it."""
    path, state = tmp_path / "config.toml", tmp_path / "state"
    monkeypatch.setattr(config, "SYSTEM_PATH", path)
    monkeypatch.setattr(config, "SYSTEM_STATE", state)
    path.write_text("[wake]\n")
    assert config.load().device.state_dir != str(state)
    state.mkdir()
    assert config.load().device.state_dir == str(state)
    path.write_text('[device]\nstate_dir = "/elsewhere"\n')
    assert config.load().device.state_dir == "/elsewhere"


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
