"""What a session tells those who listen to all of it."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ..errors import EventsLostError, GatewayError
from ..wire.server import ServerPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The connection is gone; the client tries again after ``retry_in`` seconds.

    ``code`` is the close code where the gateway sent one.
    """

    code: int | None
    reason: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnected:
    """The connection is back. ``resumed``: nothing was missed, ``replayed`` frames came again.

    Otherwise it is a new session: the NPCs are joined anew, and lines without an answer are said again under
    the same ids.
    """

    resumed: bool
    replayed: int


SessionEvent = ServerPayload | Disconnected | Reconnected
"""Every frame of the gateway, and what happens to the connection."""


class Subscription:
    """The events of a session from now on, in order: ``async for event in session.events()``.

    Ends when the session was closed, and raises what ended it otherwise. It remembers a bounded number of
    unread events.
    """

    def __init__(self, most: int, forget: Callable[["Subscription"], None]) -> None:
        self._most = most
        self._forget = forget
        self._events: deque[SessionEvent] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._error: GatewayError | None = None

    def put(self, event: SessionEvent) -> None:
        """Adds an event."""
        if self._ended:
            return
        if len(self._events) >= self._most:
            self.end(EventsLostError(f"more than {self._most} events of the session were not read"))
            return
        self._events.append(event)
        self._wake.set()

    def end(self, error: GatewayError | None) -> None:
        """No more will come."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake.set()
            self._forget(self)

    def close(self) -> None:
        """Stops listening."""
        self._events.clear()
        self.end(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionEvent:
        while not self._events:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
