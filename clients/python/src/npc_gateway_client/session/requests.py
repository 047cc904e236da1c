"""Frames that wait for the connection or for their answer.

Each keeps its ``cid`` for as long as it is unanswered, over all sockets and sessions, and is sent again on
each of them: every request of the protocol may be repeated.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import GatewayError, TooManyRequestsError
from ..wire.client import ClientPayload
from ..wire.convert import PayloadError
from ..wire.server import ServerPayload


@dataclass(slots=True, eq=False)
class Request:
    """A frame and its answer."""

    cid: int
    payload: ClientPayload
    answer: "asyncio.Future[ServerPayload]"
    sent_in: list[int] = field(default_factory=list)
    """The sessions in which it was sent, the first and the last of them."""
    polls: int = 0
    """How often it was sent again because it is running somewhere out of sight."""

    def sent(self, session: int) -> None:
        """It leaves now."""
        self.sent_in = [*self.sent_in[:1], session]

    @property
    def repeated(self) -> bool:
        """Whether it was sent more than once."""
        return len(self.sent_in) > 1

    def is_known_to(self, session: int) -> bool:
        """Whether its answer comes to this session without asking again."""
        return bool(self.sent_in) and self.sent_in[0] == session


class Requests:
    """All of them, in order."""

    def __init__(self, most: int, wake: asyncio.Event) -> None:
        self._most = most
        self._wake = wake
        self._waiting: dict[int, Request] = {}
        self._unsent: deque[int] = deque()
        self._last_cid = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, payload: ClientPayload) -> Request:
        """A new one. Raises :class:`TooManyRequestsError`."""
        if len(self._waiting) >= self._most:
            raise TooManyRequestsError(f"{self._most} frames wait already (Limits.requests)")
        return self._put(payload)

    def _put(self, payload: ClientPayload) -> Request:
        self._last_cid += 1
        request = Request(self._last_cid, payload, asyncio.get_running_loop().create_future())
        self._wait_for(request)
        self._unsent.append(request.cid)
        self._wake.set()
        return request

    def _wait_for(self, request: Request) -> None:
        self._waiting[request.cid] = request
        # Whoever stops waiting for the answer takes the request back; and an answer that nobody asked for,
        # because a turn tells it too, must not be reported as forgotten.
        request.answer.add_done_callback(lambda answer: self._settled(request, answer))

    def _settled(self, request: Request, answer: "asyncio.Future[ServerPayload]") -> None:
        if answer is request.answer and self._waiting.get(request.cid) is request:
            del self._waiting[request.cid]
        if not answer.cancelled():
            answer.exception()

    def get(self, cid: object) -> Request | None:
        """The one with this mark, if it is still unanswered."""
        return self._waiting.get(cid) if isinstance(cid, int) else None

    def drop(self, cid: int) -> bool:
        """Forgets one; says whether it was still unanswered."""
        return self._waiting.pop(cid, None) is not None

    def answer(self, cid: object, payload: ServerPayload) -> None:
        """Answers one, if it waits."""
        request = self.get(cid)
        if request is not None:
            self.drop(request.cid)
            if not request.answer.done():
                request.answer.set_result(payload)

    def fail(self, cid: object, error: GatewayError | PayloadError) -> None:
        """The answer of one is an error."""
        request = self.get(cid)
        if request is not None:
            self.drop(request.cid)
            if not request.answer.done():
                request.answer.set_exception(error)

    def fail_all(self, error: GatewayError) -> None:
        """The answer of all is an error."""
        for cid in list(self._waiting):
            self.fail(cid, error)

    def next(self) -> Request | None:
        """The next one to send."""
        while self._unsent:
            request = self._waiting.get(self._unsent.popleft())
            if request is not None:
                return request
        return None

    def again(self, cid: int) -> None:
        """Sends one again."""
        if cid in self._waiting:
            self._unsent.append(cid)
            self._wake.set()

    def all_again(self) -> None:
        """A new socket: all that is unanswered is sent again, in order."""
        self._unsent = deque(self._waiting)
        self._wake.set()

    def put_before(self, payloads: Iterable[ClientPayload], answered: Iterable[Request]) -> list[Request]:
        """A new session: what must be there before all else. First these payloads, then requests that were
        answered already and want another answer. They obeyed the bound when they were asked for the first
        time."""
        rest = self._waiting
        self._waiting = {}
        new = [self._put(payload) for payload in payloads]
        for request in answered:
            request.answer = asyncio.get_running_loop().create_future()
            self._wait_for(request)
        self._waiting.update(rest)
        return new
