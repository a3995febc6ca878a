"""What Home Assistant sends, as far as it is read; anything else in it is passed over."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Config(Struct, frozen=True):
    """Of ``get_config``: RUNNING once all is set up."""

    state: str = ""


class Assistant(Struct, frozen=True):
    """A voice assistant, which the API calls a pipeline."""

    id: str
    name: str
    stt_engine: str | None = None
    tts_engine: str | None = None
    conversation_language: str = "en"


class Assistants(Struct, frozen=True):
    """All of them, and which is preferred."""

    pipelines: list[Assistant]
    preferred_pipeline: str | None = None


class Device(Struct, frozen=True):
    """A device in the registry; each identifier is an integration's name and what it calls the device."""

    id: str
    identifiers: list[list[str]] = []


class RunnerData(Struct, frozen=True):
    """The number that goes before each piece of sound."""

    stt_binary_handler_id: Annotated[int, Meta(ge=1, le=255)]


class RunStart(Struct, frozen=True):
    """The pipeline takes sound now."""

    runner_data: RunnerData


class SttOutput(Struct, frozen=True):
    """What was understood."""

    text: str = ""


class SttEnd(Struct, frozen=True):
    """The speech-to-text is done."""

    stt_output: SttOutput


class Plain(Struct, frozen=True):
    """What is to be said."""

    speech: str = ""


class Speech(Struct, frozen=True):
    """It again, by kind."""

    plain: Plain = Plain()


class Response(Struct, frozen=True):
    """The conversation agent's response."""

    speech: Speech = Speech()


class IntentOutput(Struct, frozen=True):
    """The response, and the conversation it belongs to."""

    response: Response
    conversation_id: str | None = None


class IntentEnd(Struct, frozen=True):
    """The conversation agent is done."""

    intent_output: IntentOutput


class TtsOutput(Struct, frozen=True):
    """Where the speech is."""

    url: str


class TtsEnd(Struct, frozen=True):
    """The speech is there."""

    tts_output: TtsOutput


class Failure(Struct, frozen=True):
    """The pipeline failed; the code is one of a few words."""

    code: str = ""
