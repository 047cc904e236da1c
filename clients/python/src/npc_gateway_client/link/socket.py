"""One WebSocket that speaks the protocol."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
)
from websockets.typing import Subprotocol as WebSocketSubprotocol

from ..errors import ConnectError, MessageTooLargeError, ProtocolError, UnsupportedProtocolError
from ..wire.client import ClientPayload
from ..wire.codes import Subprotocol
from ..wire.convert import PayloadError
from ..wire.frame import Cid, Frame, ServerFrame, read_server_frame, write_frame
from ..wire.server import Hello

PROTOCOL = 1

PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 426})
"""HTTP statuses of a refused upgrade that the same request gets again."""


class LinkLostError(Exception):
    """A socket has ended, or could not be opened, and another one may do better.

    ``code`` is the close code that the gateway sent, ``None`` where it sent none.
    """

    def __init__(self, message: str, *, code: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the gateway is and how its socket is opened."""

    url: str
    subprotocol: Subprotocol
    message_bytes: int
    open_timeout: float
    close_timeout: float
    options: dict[str, Any] = field(default_factory=dict)
    """More words for ``websockets.connect``: ``ssl``, ``origin``, ``proxy``, ``additional_headers``."""


class Link:
    """An open socket whose ``hello`` was read."""

    def __init__(self, socket: ClientConnection, subprotocol: Subprotocol) -> None:
        self._socket = socket
        self._subprotocol = subprotocol
        self._hello: Hello | None = None

    @classmethod
    async def open(cls, route: Route) -> "Link":
        """Opens a socket and reads ``hello``.

        Raises :class:`LinkLostError` where it is worth another try, and a :class:`GatewayError` otherwise.
        """
        link = cls(await _connect(route), route.subprotocol)
        try:
            await link._greet(route)
        except BaseException:
            link.abort()
            raise
        return link

    async def _greet(self, route: Route) -> None:
        if self._socket.subprotocol != route.subprotocol.value:
            raise ProtocolError(f"the gateway did not choose the subprotocol {route.subprotocol.value}")
        hello = (await self.receive(route.open_timeout)).d
        if not isinstance(hello, Hello):
            raise ProtocolError(f"the first frame must be hello, not {hello.op}")
        if hello.protocol != PROTOCOL:
            raise UnsupportedProtocolError(
                f"the gateway speaks protocol {hello.protocol}, this client {PROTOCOL}"
            )
        self._hello = hello

    @property
    def hello(self) -> Hello:
        """The first frame."""
        if self._hello is None:
            raise RuntimeError("a link is made by Link.open")
        return self._hello

    async def receive(self, limit: float) -> ServerFrame:
        """The next frame.

        Raises :class:`LinkLostError` when the socket has ended or nothing comes for ``limit`` seconds,
        and :class:`ProtocolError` for what is no frame.
        """
        try:
            async with asyncio.timeout(limit):
                message = await self._socket.recv()
        except TimeoutError:
            raise LinkLostError(f"nothing came for {limit:g} s") from None
        except ConnectionClosed as error:
            raise _lost(error) from error
        try:
            return read_server_frame(message, self._subprotocol)
        except PayloadError as error:
            raise ProtocolError(f"a frame of the gateway is wrong: {error}") from error

    async def send(self, payload: ClientPayload, cid: Cid | None = None) -> None:
        """Sends a frame.

        Raises :class:`LinkLostError` when the socket has ended, and :class:`MessageTooLargeError` or
        :class:`PayloadError` where nothing was sent because the gateway would close the socket for it.
        """
        message = write_frame(Frame(d=payload, cid=cid), self._subprotocol)
        if self._hello is not None:
            size = len(message.encode()) if isinstance(message, str) else len(message)
            if size > self._hello.max_frame_bytes:
                raise MessageTooLargeError(
                    f"{payload.op} has {size} bytes; the gateway takes {self._hello.max_frame_bytes}"
                )
        try:
            await self._socket.send(message)
        except ConnectionClosed as error:
            raise _lost(error) from error

    async def close(self) -> None:
        """The closing handshake, for as long as the route allows."""
        await self._socket.close()

    def abort(self) -> None:
        """Drops the connection without a word."""
        self._socket.transport.abort()


async def _connect(route: Route) -> ClientConnection:
    try:
        return await connect(
            route.url,
            subprotocols=[WebSocketSubprotocol(route.subprotocol.value)],
            max_size=route.message_bytes,
            open_timeout=route.open_timeout,
            close_timeout=route.close_timeout,
            # The protocol has heartbeats of its own, and its messages are small.
            ping_interval=None,
            compression=None,
            **route.options,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        message = f"the gateway refused the upgrade with HTTP {status}"
        if status in PERMANENT:
            raise ConnectError(message, status=status) from error
        raise LinkLostError(message) from error
    except (InvalidURI, InvalidProxy) as error:
        raise ConnectError(str(error)) from error
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(f"the gateway's certificate: {error}") from error
    # An upgrade that ended early is an InvalidHandshake too.
    except (OSError, TimeoutError, EOFError, InvalidHandshake) as error:
        raise LinkLostError(f"{route.url}: {error or type(error).__name__}") from error


def _lost(error: ConnectionClosed) -> Exception:
    if error.rcvd is not None:
        code, reason = error.rcvd.code, error.rcvd.reason
        return LinkLostError(
            f"the gateway closed the socket: {code} {reason}".rstrip(), code=code, reason=reason
        )
    if error.sent is not None and error.sent.code != 1000:
        # This end gave up on what came: not UTF-8, too large, or no WebSocket frame at all.
        return ProtocolError(f"what the gateway sent was refused: {error.sent.code} {error.sent.reason}")
    return LinkLostError("the connection was lost")
