"""The way in."""

from collections.abc import Generator
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .link.socket import Route
from .session.session import Session
from .session.tokens import TokenSource
from .settings import Limits, Reconnect, Timeouts
from .version import __version__
from .wire.client import ClientInfo
from .wire.codes import Subprotocol

NAMES = {"msgpack": Subprotocol.MSGPACK, "json": Subprotocol.JSON}


class connect:  # noqa: N801 - it is used like a function, as that of `websockets`
    """Opens a session: ``async with connect(url, token="mina") as session`` or ``await connect(…)``.

    ``url`` begins with ``ws://`` or ``wss://``; without a path it is that of ``/ws``. ``token`` is the
    player's token, or a function, async or not, that fetches one: it is called again when the token is
    about to run out or was refused. ``client`` names your program and its version. ``subprotocol`` is
    ``"msgpack"`` or ``"json"``. ``options`` go to ``websockets.connect``: ``ssl``, ``origin``, ``proxy``,
    ``additional_headers``, ``user_agent_header``.

    Raises :class:`ConnectError` when there is no session within ``timeouts.open``, and a
    :class:`SessionClosedError` when the gateway refuses one.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource,
        client: tuple[str, str] | ClientInfo = ("npc-gateway-client-python", __version__),
        subprotocol: str = "msgpack",
        reconnect: Reconnect | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> None:
        limits = limits or Limits()
        timeouts = timeouts or Timeouts()
        route = Route(
            url=_with_path(url),
            subprotocol=_subprotocol(subprotocol),
            message_bytes=limits.message_bytes,
            open_timeout=timeouts.handshake,
            close_timeout=timeouts.close,
            options=options,
        )
        info = client if isinstance(client, ClientInfo) else ClientInfo(name=client[0], version=client[1])
        self._arguments = (route, token, info, reconnect or Reconnect(), limits, timeouts)
        self._session: Session | None = None

    def __await__(self) -> Generator[Any, None, Session]:
        return self._open().__await__()

    async def _open(self) -> Session:
        return await Session(*self._arguments).open()

    async def __aenter__(self) -> Session:
        self._session = await self._open()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()


def _with_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"url must look like ws://HOST:PORT or wss://HOST, not {url!r}")
    return urlunsplit(parts._replace(path="/ws")) if parts.path in ("", "/") else url


def _subprotocol(name: str) -> Subprotocol:
    if name in NAMES:
        return NAMES[name]
    raise ValueError(f'subprotocol must be "msgpack" or "json", not {name!r}')
