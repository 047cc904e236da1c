"""One line of the player and what the NPC makes of it."""

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import (
    EventsLostError,
    GatewayError,
    ProtocolError,
    RequestError,
    TurnLostError,
    refused,
)
from ..wire.client import ActionResult, Cancel
from ..wire.codes import DoneReason, ErrorCode
from ..wire.convert import PayloadError
from ..wire.server import ErrorFrame, EventRecorded
from ..wire.turn import DialogueDelta, TurnCancelled, TurnDone, TurnEvent, TurnStarted

if TYPE_CHECKING:
    from .core import Core
    from .requests import Request

E = TypeVar("E", bound=TurnEvent)


class Turn:
    """An answer on its way.

    ``async for delta in turn`` gives the words, ``async for event in turn.events()`` everything, and
    ``await turn`` the end. All of them may be used at the same time and more than once, and each sees the
    turn from its beginning. A connection that is lost in the middle does not show: the iteration goes on
    where it was.
    """

    def __init__(self, core: "Core", request: "Request", npc: str, turn: str) -> None:
        self._core = core
        self._request = request
        self._npc = npc
        self._id = turn
        self._events: list[TurnEvent] = []
        self._lost_events = False
        self._text: list[str] = []
        self._length = 0
        self._started: TurnStarted | None = None
        self._done: TurnDone | None = None
        self._error: GatewayError | PayloadError | None = None
        self._trouble: RequestError | None = None
        self._interrupted = False
        self._ended = False
        self._pulse = asyncio.Event()
        self.heard: int | None = None
        """What :meth:`playback` told last."""

    @property
    def id(self) -> str:
        """The turn's id: its idempotency key."""
        return self._id

    @property
    def npc(self) -> str:
        """Who answers."""
        return self._npc

    @property
    def text(self) -> str:
        """The NPC's words so far."""
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    @property
    def request(self) -> "Request":
        """The ``say`` and its mark."""
        return self._request

    # What a user reads.

    def __await__(self) -> Generator[Any, None, TurnDone]:
        return self.done().__await__()

    async def done(self) -> TurnDone:
        """The end of the turn. Raises a :class:`GatewayError` where the NPC could not answer."""
        while not self._ended:
            await self._pulse.wait()
        if self._error is not None:
            raise self._error
        if self._done is None:
            raise ProtocolError("the turn ended without an end")
        return self._done

    async def started(self) -> TurnStarted:
        """The beginning of the turn. Raises a :class:`GatewayError` where it never began."""
        while self._started is None and not self._ended:
            await self._pulse.wait()
        if self._started is None:
            raise self._error or TurnLostError("the turn began in a session that was lost", text=self.text)
        return self._started

    async def events(self) -> AsyncIterator[TurnEvent]:
        """Everything of the turn, in order; the last is :class:`TurnDone`."""
        index = 0
        while True:
            while index < len(self._events):
                yield self._events[index]
                index += 1
            if self._lost_events:
                raise EventsLostError("the turn has more events than Limits.turn_events")
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            await self._pulse.wait()

    async def _deltas(self) -> AsyncIterator[DialogueDelta]:
        async for event in self.events():
            if isinstance(event, DialogueDelta):
                yield event

    def __aiter__(self) -> AsyncIterator[DialogueDelta]:
        return self._deltas()

    # What a user does.

    async def cancel(self, heard_offset: int | None = None) -> TurnCancelled:
        """Interrupts the NPC; ``heard_offset``: how much of the text the player heard.

        May also be called after the end, for as long as the gateway allows.
        """
        return await self._core.ask(Cancel(turn=self._id, heard_offset=heard_offset), TurnCancelled)

    def playback(self, heard_offset: int) -> None:
        """Tells how much of the text the player has heard, in characters; it only grows."""
        if heard_offset < 0:
            raise ValueError("heard_offset must be at least 0")
        if self.heard is None or heard_offset > self.heard:
            self.heard = heard_offset
            self._core.heard(self)

    async def result(self, action: str, *, ok: bool, reason: str | None = None) -> EventRecorded:
        """Tells what became of an action that the NPC proposed."""
        payload = ActionResult(turn=self._id, action=action, ok=ok, reason=reason)
        return await self._core.ask(payload, EventRecorded)

    # What the session does.

    def take(self, event: TurnEvent) -> None:
        """An event of this turn. Raises :class:`ProtocolError` where it cannot be one, and
        :class:`TurnLostError` where the gateway began the turn anew behind words that were heard."""
        if self._ended:
            return
        match event:
            case TurnStarted():
                self._begin(event)
            case DialogueDelta():
                self._grow(event)
            case TurnDone():
                self._finish(event)
            case _:
                self._log(event)

    def _begin(self, event: TurnStarted) -> None:
        if self._started is None:
            self._started = event
            self._log(event)
        elif not self._interrupted:
            raise ProtocolError("turn.started came twice")
        elif self._length:
            raise TurnLostError("the session was lost in the middle of the turn", text=self.text)
        else:
            self._started = event
        self._interrupted = False

    def _grow(self, event: DialogueDelta) -> None:
        if event.offset != self._length:
            if self._interrupted:
                # Another session's part of it; the end brings what is missing.
                return
            raise ProtocolError(
                f"a delta starts at {event.offset}, and {self._length} characters came before"
            )
        self._text.append(event.text)
        self._length += len(event.text)
        self._log(event)

    def _finish(self, event: TurnDone) -> None:
        text = self.text
        if self._interrupted and len(event.text) > len(text) and event.text.startswith(text):
            # The gateway finished the turn out of sight and has kept its end: so that the deltas still join
            # to the whole line.
            tail = event.text[len(text) :]
            t_ms = max((seen.t_ms for seen in self._events if isinstance(seen, DialogueDelta)), default=0)
            self._interrupted = False
            self._grow(
                DialogueDelta(
                    turn=event.turn, player=event.player, text=tail, offset=self._length, t_ms=t_ms, tokens=0
                )
            )
        self._done = event
        self._log(event)
        if event.reason == DoneReason.ERROR:
            self._error = self._failure(event)
        self._end()

    def _failure(self, event: TurnDone) -> RequestError:
        if self._trouble is not None:
            self._trouble.done = event
            return self._trouble
        frame = ErrorFrame(
            code=ErrorCode.ENGINE_FAILED,
            message="the turn failed",
            temporary=True,
            turn=self._id,
            npc=self._npc,
        )
        return refused(frame, event)

    def _log(self, event: TurnEvent) -> None:
        if len(self._events) >= self._core.limits.turn_events:
            self._lost_events = True
        else:
            self._events.append(event)
        self._wake()

    def trouble(self, error: RequestError) -> None:
        """An ``error`` about a turn that has begun: its end follows."""
        self._trouble = error

    def interrupt(self) -> None:
        """Its session is gone: what comes next may not join what came."""
        self._interrupted = True

    def fail(self, error: GatewayError | PayloadError) -> None:
        """Ends it without an end of its own."""
        if not self._ended:
            self._error = error
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()
