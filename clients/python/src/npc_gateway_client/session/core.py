"""What a session knows, whatever socket carries it. No I/O: frames go in, what is to be sent comes out."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ..errors import (
    GatewayError,
    ProtocolError,
    SequenceError,
    SessionClosedError,
    TooManyRequestsError,
    TurnLostError,
    refused,
)
from ..settings import Limits
from ..wire.client import Cancel, ClientPayload, GameEvent, NpcAct, NpcJoin, Playback, Say
from ..wire.codes import ErrorCode
from ..wire.convert import PayloadError
from ..wire.frame import SERVER, UNNUMBERED, ServerFrame
from ..wire.server import ErrorFrame, NpcJoined, Ready, ServerPayload
from ..wire.turn import (
    ActionProposed,
    DialogueDelta,
    Emotion,
    FaceKey,
    Goal,
    Social,
    TurnCancelled,
    TurnDone,
    TurnEvent,
    TurnStarted,
)
from .events import SessionEvent, Subscription
from .npc import Npc
from .requests import Request, Requests
from .turn import Turn

log = logging.getLogger("npc_gateway_client")

P = TypeVar("P", bound=ServerPayload)

TURN_EVENTS = (
    TurnStarted,
    DialogueDelta,
    Emotion,
    FaceKey,
    ActionProposed,
    Social,
    Goal,
    TurnCancelled,
    TurnDone,
)
KEYED = (Say, GameEvent, NpcAct)
"""Requests with an idempotency key of their own."""

POLL_BASE, POLL_CAP = 0.25, 5.0
"""Seconds between questions after a turn that runs out of sight: doubled from the first to the second."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What resumes a session."""

    session: str
    resume_token: str
    epoch: str


class Core:
    """A session's memory, bounded by its limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ready: Ready | None = None
        self.ticket: Ticket | None = None
        self.seq = 0
        """The last ``s`` received."""
        self.sessions = 0
        """How many sessions there were: the number of this one."""
        self.wake = asyncio.Event()
        """Set when there is something to send."""
        self.ended: GatewayError | None = None
        self.npcs: dict[str, Npc] = {}
        self._requests = Requests(limits.requests, self.wake)
        self._turns: dict[str, Turn] = {}
        self._past: OrderedDict[str, Turn] = OrderedDict()
        self._unheard: dict[str, Turn] = {}
        self._subscriptions: set[Subscription] = set()

    # What a user asks for.

    async def ask(self, payload: ClientPayload, wanted: type[P]) -> P:
        """Sends a frame, over as many sockets as it takes, and returns its answer."""
        self.check()
        answer = await self._requests.add(payload).answer
        if not isinstance(answer, wanted):
            raise ProtocolError(f"{payload.op} was answered with {answer.op}")
        return answer

    async def join(self, definition: NpcJoin) -> Npc:
        """Meets an NPC."""
        joined = await self.ask(definition, NpcJoined)
        known = self.npcs.get(definition.npc)
        if known is not None:
            known.joined = joined
            return known
        npc = Npc(self, definition, joined)
        self.npcs[npc.id] = npc
        return npc

    def left(self, npc: Npc) -> None:
        """An NPC was left."""
        if self.npcs.get(npc.id) is npc:
            del self.npcs[npc.id]

    def say(self, payload: Say) -> Turn:
        """Begins a turn."""
        self.check()
        if payload.turn in self._turns or payload.turn in self._past:
            raise ValueError(f"turn {payload.turn!r} was said already")
        if len(self._turns) >= self.limits.turns:
            raise TooManyRequestsError(f"{self.limits.turns} turns run already (Limits.turns)")
        turn = Turn(self, self._requests.add(payload), payload.npc, payload.turn)
        self._turns[payload.turn] = turn
        return turn

    def heard(self, turn: Turn) -> None:
        """A player has heard more of a turn."""
        if self.ended is None and (turn.id in self._turns or turn.id in self._past):
            self._unheard[turn.id] = turn
            self.wake.set()

    def subscribe(self) -> Subscription:
        """Listens to everything from now on."""
        subscription = Subscription(self.limits.session_events, self._subscriptions.discard)
        if self.ended is not None:
            subscription.end(self.ended)
        else:
            self._subscriptions.add(subscription)
        return subscription

    def check(self) -> None:
        """Raises what ended the session."""
        if self.ended is not None:
            # A new one each time: a traceback belongs to one raise.
            error = self.ended
            if isinstance(error, SessionClosedError):
                raise type(error)(str(error), code=error.code, reason=error.reason) from error
            raise SessionClosedError(f"the session has ended: {error}") from error

    # What is to be sent.

    def next(self) -> tuple[ClientPayload, int | None] | None:
        """The next frame to send and its ``cid``; sent as far as this is concerned."""
        request = self._requests.next()
        if request is not None:
            request.sent(self.sessions)
            return request.payload, request.cid
        if self._unheard:
            turn = self._unheard.pop(next(iter(self._unheard)))
            if turn.heard is not None:
                return Playback(turn=turn.id, heard_offset=turn.heard), None
        return None

    def unsendable(self, cid: int | None, error: GatewayError | PayloadError) -> None:
        """A frame was not sent, because it never can be."""
        if cid is None:
            log.warning("a frame was left out: %s", error)
            return
        self._fail(cid, error)

    # What comes.

    def link_opened(self) -> None:
        """A socket carries the session: what is unanswered is sent again."""
        self._requests.all_again()
        for turn in [*self._turns.values(), *self._past.values()]:
            if turn.heard is not None:
                self._unheard[turn.id] = turn
        self.wake.set()

    def new_session(self, ready: Ready, s: int | None) -> None:
        """The gateway made a session. If there was one before, what it held is asked for again."""
        if s != 1:
            raise SequenceError(f"ready must have s 1, not {s}")
        self.sessions += 1
        self.ready = ready
        self.ticket = Ticket(ready.session, ready.resume_token, ready.epoch)
        self.seq = 1
        if self.sessions > 1:
            for turn in self._turns.values():
                turn.interrupt()
            says = [turn.request for turn in self._turns.values()]
            begun = [request for request in says if self._requests.get(request.cid) is None]
            joins = self._requests.put_before([npc.definition for npc in self.npcs.values()], begun)
            for request, npc in zip(joins, self.npcs.values(), strict=True):
                request.answer.add_done_callback(self._rejoined(npc))
        self.publish(ready)

    def _rejoined(self, npc: Npc) -> Callable[["asyncio.Future[ServerPayload]"], None]:
        def done(answer: "asyncio.Future[ServerPayload]") -> None:
            if answer.cancelled():
                return
            error = answer.exception()
            if error is not None:
                log.warning("the NPC %s could not be joined again: %s", npc.id, error)
                self.left(npc)
                return
            joined = answer.result()
            if isinstance(joined, NpcJoined):
                npc.joined = joined

        return done

    def resumed(self, resume_token: str) -> None:
        """The session goes on, and has a new secret."""
        if self.ticket is not None:
            self.ticket = replace(self.ticket, resume_token=resume_token)

    def take(self, frame: ServerFrame) -> None:
        """A frame of the session. Raises :class:`ProtocolError` where the protocol does not allow it."""
        self._count(frame)
        payload = frame.d
        if isinstance(payload, ErrorFrame):
            self._take_error(payload, frame.cid)
        elif isinstance(payload, TURN_EVENTS):
            self._take_event(payload)
            self._requests.answer(frame.cid, payload)
        else:
            self._requests.answer(frame.cid, payload)
        self.publish(payload)

    def _count(self, frame: ServerFrame) -> None:
        if frame.s is None:
            if frame.op in SERVER and frame.op not in UNNUMBERED:
                raise SequenceError(f"{frame.op} has no s")
            return
        if frame.s != self.seq + 1:
            raise SequenceError(f"{frame.op} has s {frame.s} behind {self.seq}")
        self.seq = frame.s

    def _take_event(self, event: TurnEvent) -> None:
        turn = self._own(event)
        if turn is None:
            return
        try:
            turn.take(event)
        except TurnLostError as error:
            self._end_turn(turn, error)
            if self.ended is None and len(self._requests) < self.limits.requests:
                self._requests.add(Cancel(turn=turn.id))
            return
        except ProtocolError as error:
            log.warning("turn %s: %s", turn.id, error)
            self._end_turn(turn, error)
            return
        if isinstance(event, TurnStarted | TurnDone):
            self._requests.answer(turn.request.cid, event)
        if turn.ended:
            self._forget(turn)

    def _own(self, event: TurnEvent) -> Turn | None:
        if self.ready is None or event.player != self.ready.player:
            return None
        return self._turns.get(event.turn)

    def _take_error(self, frame: ErrorFrame, cid: object) -> None:
        error = refused(frame)
        request = self._requests.get(cid)
        if request is not None:
            if self._is_echo(frame, request):
                return
            self._fail(request.cid, error)
            return
        turn = self._turns.get(frame.turn) if frame.turn is not None else None
        if turn is None or (cid is not None and cid != turn.request.cid):
            log.info("the gateway refused something: %s", error)
        elif self._requests.get(turn.request.cid) is not None:
            self._fail(turn.request.cid, error)
        else:
            turn.trouble(error)

    def _is_echo(self, frame: ErrorFrame, request: Request) -> bool:
        """Whether an error only says that what was sent twice is running."""
        if (
            frame.code != ErrorCode.DUPLICATE_TURN
            or not request.repeated
            or not isinstance(request.payload, KEYED)
        ):
            return False
        if not request.is_known_to(self.sessions):
            # It began in a session that is gone, so its answer goes nowhere: asked again until it is stored.
            pause = min(POLL_CAP, POLL_BASE * 2.0 ** min(request.polls, 16))
            request.polls += 1
            asyncio.get_running_loop().call_later(pause, self._requests.again, request.cid)
        return True

    def _fail(self, cid: int, error: GatewayError | PayloadError) -> None:
        request = self._requests.get(cid)
        self._requests.fail(cid, error)
        if request is not None and isinstance(request.payload, Say):
            turn = self._turns.get(request.payload.turn)
            if turn is not None and turn.request is request:
                self._end_turn(turn, error)

    def _end_turn(self, turn: Turn, error: GatewayError | PayloadError) -> None:
        turn.fail(error)
        self._requests.drop(turn.request.cid)
        self._forget(turn)

    def _forget(self, turn: Turn) -> None:
        """Keeps an ended turn for a while: what the player heard of it may still be told."""
        self._turns.pop(turn.id, None)
        self._past[turn.id] = turn
        while len(self._past) > self.limits.turns:
            gone, _ = self._past.popitem(last=False)
            self._unheard.pop(gone, None)

    def publish(self, event: SessionEvent) -> None:
        """Tells everyone who listens."""
        for subscription in tuple(self._subscriptions):
            subscription.put(event)

    @property
    def idle(self) -> bool:
        """Whether everything was answered and all turns have ended."""
        return not self._turns and not len(self._requests)

    def end(self, error: GatewayError) -> None:
        """The session is over."""
        if self.ended is not None:
            return
        self.ended = error
        for turn in list(self._turns.values()):
            turn.fail(error)
        self._turns.clear()
        self._unheard.clear()
        self._requests.fail_all(error)
        for subscription in tuple(self._subscriptions):
            subscription.end(error)
