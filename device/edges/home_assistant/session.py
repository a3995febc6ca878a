"""One connection to Home Assistant: logged in, commands with their results, events and bytes; bounded in all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from device.answering.answer import BackendAwayError, NotAnsweredError
from device.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

T = TypeVar("T")
CONNECT_TIMEOUT_S = 5.0
MOST_BYTES = 4_000_000  # of one message: a house with a thousand devices has a registry of 1 MB
MOST_SOUND_BYTES = 10_000_000
_LOST = "ended the connection"


class Event(Struct, frozen=True):
    """Something that happens in the course of a command."""

    type: str = ""
    data: dict[str, Any] | None = None


class _Error(Struct, frozen=True):
    code: str = ""


class _Message(Struct, frozen=True):
    type: str
    id: int = 0
    success: bool = False
    result: Any = None
    error: _Error = _Error()
    event: Event = Event()


class CommandError(NotAnsweredError):
    """Home Assistant refused a command; ``code`` is its word for why."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Session:
    """A connection that has been logged in; used by one coroutine.

    Args:
        socket: the websocket.
        where: the address, for messages.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, where: str) -> None:
        self._socket = socket
        self._where = where
        self._last = 0  # the number of the last command

    async def login(self, token: str) -> None:
        """Log in.

        Raises:
            ConfigurationError: the token is refused.
            BackendAwayError: the connection ended.
        """
        if (await self._receive()).type != "auth_required":
            raise NotAnsweredError(f"{self._where} is no Home Assistant", hint="[answer] home_assistant")
        await self._send({"type": "auth", "access_token": token})
        if (await self._receive()).type != "auth_ok":
            right = "make a long-lived access token in your profile there, under Security"
            raise ConfigurationError([f"{self._where} refused the token; {right}, and put it into [answer] token_file"])

    async def command(self, kind: str, into: type[T], **arguments: object) -> T:
        """Send a command and return its result; events of it come by ``event``.

        Args:
            kind: its name.
            into: what the result is.
            arguments: the command's.

        Raises:
            CommandError: it was refused.
            BackendAwayError: the connection ended.
        """
        self._last += 1
        await self._send({"id": self._last, "type": kind, **arguments})
        while True:
            message = await self._receive()
            if message.type == "result" and message.id == self._last:
                break
        if not message.success:
            code = _word(message.error.code)
            raise CommandError(code, f"{self._where} refused {kind}: {code}")
        return self.read(message.result, into)

    async def event(self) -> Event:
        """Return the last command's next event.

        Raises:
            BackendAwayError: the connection ended.
        """
        while True:
            message = await self._receive()
            if message.type == "event" and message.id == self._last:
                return message.event

    def read(self, value: object, into: type[T]) -> T:
        """Return what was sent as what it should be.

        Raises:
            NotAnsweredError: it is something else.
        """
        try:
            return msgspec.convert(value, into)
        except msgspec.ValidationError as error:
            raise NotAnsweredError(
                f"{self._where} sent something else than {into.__name__}: {_word(str(error))}"
            ) from None

    async def send_bytes(self, content: bytes) -> None:
        """Send bytes.

        Raises:
            BackendAwayError: the connection ended.
        """
        try:
            await self._socket.send_bytes(content)
        except ConnectionError:
            raise BackendAwayError(f"{self._where} {_LOST}") from None

    async def _send(self, message: dict[str, object]) -> None:
        try:
            await self._socket.send_json(message)
        except ConnectionError:
            raise BackendAwayError(f"{self._where} {_LOST}") from None

    async def _receive(self) -> _Message:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            try:
                return msgspec.json.decode(message.data, type=_Message)
            except msgspec.DecodeError as error:
                raise NotAnsweredError(f"{self._where} is no Home Assistant: {_word(str(error))}") from None
        if self._socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            raise NotAnsweredError(f"{self._where} sent a message of over {MOST_BYTES} bytes")
        raise BackendAwayError(f"{self._where} {_LOST}")


@contextlib.asynccontextmanager
async def opened(url: str, token: str) -> AsyncIterator[Session]:
    """Connect, log in, and close at the end of the block.

    Raises:
        BackendAwayError: nobody answers there now.
        NotAnsweredError: whoever answers is no Home Assistant.
        ConfigurationError: the token is refused.
    """
    with _explained(url):
        async with _client() as client:
            address = URL(url) / "api" / "websocket"
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await client.ws_connect(address, max_msg_size=MOST_BYTES, autoclose=True, timeout=_CLOSING)
            try:
                session = Session(socket, url)
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await session.login(token)
                yield session
            finally:
                await socket.close()


async def download(url: str, path: str) -> bytes:
    """Return a file of Home Assistant's.

    Args:
        url: Home Assistant's address.
        path: what it gave as the file's address, without the host.

    Raises:
        NotAnsweredError: it is elsewhere, too large, or not there.
        BackendAwayError: nobody answers.
    """
    if not path.startswith("/") or path.startswith("//"):
        raise NotAnsweredError(f"{url} gave an address for its speech that is not its own")
    with _explained(url):
        async with _client() as client, client.get(URL(url).join(URL(path, encoded=True))) as response:
            response.raise_for_status()
            content = bytearray()
            async for part in response.content.iter_chunked(65_536):
                content += part
                if len(content) > MOST_SOUND_BYTES:
                    raise NotAnsweredError(f"{url} gave a speech of over {MOST_SOUND_BYTES} bytes")
            return bytes(content)


_CLOSING = aiohttp.ClientWSTimeout(ws_close=1.0)


def _client() -> aiohttp.ClientSession:
    """Make a client that follows nobody elsewhere and waits for nobody for ever."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60.0, connect=CONNECT_TIMEOUT_S))


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Put what goes wrong on the way there into our words."""
    hint = "does Home Assistant run? check [answer] home_assistant"
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise BackendAwayError(f"{url}: its certificate is not trusted", hint="use its name as in it") from error
    except aiohttp.ClientResponseError as error:
        if error.status >= 500:
            raise BackendAwayError(f"{url}: answers with status {error.status}", hint=hint) from error
        raise NotAnsweredError(f"{url}: answers with status {error.status}", hint="is it Home Assistant?") from error
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        why = os.strerror(number).lower() if number else "cannot be reached"
        raise BackendAwayError(f"{url}: {why}", hint=hint) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise BackendAwayError(f"{url}: no answer ({type(error).__name__})", hint=hint) from error


def _word(text: str) -> str:
    """Return a stranger's word, short and printable."""
    return ascii(text)[1:-1][:80]
