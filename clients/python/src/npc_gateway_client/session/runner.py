"""Keeps a session on a socket: opens one, carries frames, and opens the next one when it is lost."""

import asyncio
import logging
import random

from ..errors import (
    ConnectError,
    GatewayError,
    MessageTooLargeError,
    ProtocolError,
    SessionClosedError,
    closed,
    refused,
)
from ..link.backoff import Backoff
from ..link.closing import Then, after
from ..link.socket import Link, LinkLostError, Route
from ..settings import Reconnect, Timeouts
from ..wire.client import Auth, ClientInfo, Heartbeat, Identify, Resume
from ..wire.convert import PayloadError
from ..wire.server import Authed, ErrorFrame, Ready, Resumed, ResumeFailed
from .core import Core
from .events import Disconnected, Reconnected
from .tokens import Tokens

log = logging.getLogger("npc_gateway_client")

MAX_FAULTS = 3
"""Times in a row that the gateway may break the protocol before the session ends."""
MAX_DENIALS = 2
"""Times in a row that a token may be refused: once with the old session, once without it."""
MISSED = 2
"""Heartbeat intervals without a word after which a connection is taken for dead, on both ends."""
SHORTEST = 0.05
"""The shortest heartbeat interval in seconds, whatever the gateway says."""
RETRY_RENEWAL = 5.0
"""Seconds between attempts to renew a token, and the least between two renewals."""


class Runner:
    """One task for the life of a session."""

    def __init__(
        self,
        core: Core,
        route: Route,
        tokens: Tokens,
        client: ClientInfo,
        reconnect: Reconnect,
        timeouts: Timeouts,
    ) -> None:
        self._core = core
        self._route = route
        self._tokens = tokens
        self._client = client
        self._timeouts = timeouts
        self._backoff = Backoff(reconnect)
        self._link: Link | None = None
        self._faults = 0
        self._denials = 0
        self._closing = False
        self._drained = asyncio.Event()
        self._background: asyncio.Task[None] | None = None
        self.opened = asyncio.Event()
        """Set from the first ``ready`` on."""
        self.last: Exception | None = None
        """Why the last attempt failed."""

    @property
    def link(self) -> Link | None:
        """The socket that carries the session now."""
        return self._link

    async def run(self) -> None:
        """Until the session ends for good, which it raises."""
        while True:
            try:
                await self._one()
            except LinkLostError as lost:
                self.last = lost
                pause = self._decide(lost)
                await self._pause(pause, lost.code, str(lost))
            except ProtocolError as fault:
                self.last = fault
                self._faults += 1
                if self._faults >= MAX_FAULTS:
                    raise SessionClosedError(f"the gateway breaks the protocol: {fault}") from fault
                log.warning("%s; the connection is made anew", fault)
                await self._pause(self._next_pause(fault), None, str(fault))

    async def _pause(self, pause: float, code: int | None, reason: str) -> None:
        if self.opened.is_set():
            self._core.publish(Disconnected(code=code, reason=reason, retry_in=pause))
        log.info("%s; next attempt in %.1f s", reason, pause)
        await asyncio.sleep(pause)

    def _decide(self, lost: LinkLostError) -> float:
        """What the table of close codes says, and the pause before."""
        then = after(lost.code)
        if then is Then.STOP:
            raise closed(lost.code, lost.reason) from lost
        if then is Then.NEW_TOKEN:
            self._denials += 1
            if not self._tokens.renewable or self._denials > MAX_DENIALS:
                raise closed(lost.code, lost.reason) from lost
            if self._denials == MAX_DENIALS:
                self._core.ticket = None
        if then in (Then.IDENTIFY, Then.WAIT_IDENTIFY):
            self._core.ticket = None
        return self._next_pause(lost, wait=then in (Then.WAIT_RESUME, Then.WAIT_IDENTIFY))

    def _next_pause(self, cause: Exception, *, wait: bool = False) -> float:
        if self._backoff.exhausted:
            raise SessionClosedError(f"gave up after {self._backoff.attempts} attempts: {cause}") from cause
        return self._backoff.next(wait=wait)

    async def _one(self) -> None:
        """One socket, from its opening to its end."""
        # Before the socket is open: the gateway does not wait long for `identify`.
        token = None
        if self._core.ticket is None or self._denials:
            token = await self._fetch(fresh=self._denials > 0)
        link = await Link.open(self._route)
        try:
            replayed = await self._handshake(link, token)
            self.last = None
            self._link = link
            self._core.link_opened()
            if self.opened.is_set():
                self._core.publish(Reconnected(resumed=replayed is not None, replayed=replayed or 0))
            self.opened.set()
            await self._talk(link)
        finally:
            self._link = None
            self._drained.set()
            if self._closing:
                await link.close()
            link.abort()

    async def _fetch(self, *, fresh: bool) -> str:
        try:
            return await (self._tokens.fresh() if fresh else self._tokens.usable())
        except Exception as error:
            if not self.opened.is_set():
                raise
            # Whoever gives out tokens may be away for a while, as the gateway may.
            raise LinkLostError(f"no token: {error or type(error).__name__}") from error

    async def _handshake(self, link: Link, token: str | None) -> int | None:
        """Resumes or identifies. Returns how many frames came again, or ``None`` for a new session."""
        if self._core.ticket is not None:
            replayed = await self._resume(link)
            if replayed is not None:
                if token is not None:
                    # The old one was refused while connected: the session wants the new one first of all.
                    self._renew_in_background(token)
                return replayed
        if token is None:
            limit = link.hello.identify_timeout_ms / 2000
            try:
                async with asyncio.timeout(limit):
                    token = await self._fetch(fresh=False)
            except TimeoutError:
                raise LinkLostError(f"no new token within {limit:g} s") from None
        await link.send(Identify(token=token, client=self._client))
        answer = await link.receive(self._timeouts.handshake)
        if isinstance(answer.d, Ready):
            self._core.new_session(answer.d, answer.s)
            self._denials = 0
            return None
        if isinstance(answer.d, ErrorFrame):
            raise self._refused(answer.d)
        raise ProtocolError(f"identify was answered with {answer.op}")

    def _refused(self, frame: ErrorFrame) -> Exception:
        error = refused(frame)
        return LinkLostError(str(error)) if frame.temporary else error

    async def _resume(self, link: Link) -> int | None:
        ticket = self._core.ticket
        if ticket is None:
            return None
        seq = self._core.seq
        await link.send(
            Resume(session=ticket.session, resume_token=ticket.resume_token, epoch=ticket.epoch, seq=seq)
        )
        # Nothing may be sent before `resumed`: the first frame makes the old secret void.
        while True:
            frame = await link.receive(self._timeouts.handshake)
            match frame.d:
                case Resumed():
                    self._core.resumed(frame.d.resume_token)
                    return self._core.seq - seq
                case ResumeFailed():
                    log.info("the session %s is gone: %s", ticket.session, frame.d.reason)
                    self._core.ticket = None
                    return None
                case ErrorFrame() if frame.s is None:
                    raise self._refused(frame.d)
                case _:
                    self._core.take(frame)

    def _renew_in_background(self, token: str) -> None:
        async def renew() -> None:
            try:
                self._tokens.lasts((await self._core.ask(Auth(token=token), Authed)).expires_ms)
                self._denials = 0
            except GatewayError as error:
                log.warning("the new token was refused: %s", error)

        self._background = asyncio.create_task(renew())

    async def _talk(self, link: Link) -> None:
        """Carries frames until the socket ends, which it raises."""
        beat = max(SHORTEST, link.hello.heartbeat_ms / 1000)
        jobs = (self._write(link), self._beat(link, beat), self._renew())
        tasks = [asyncio.create_task(job) for job in jobs]
        reader = asyncio.create_task(self._read(link, beat * MISSED))
        try:
            waiting = {reader, *tasks}
            while not reader.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {reader}:
                    # A writer that met the end of the socket leaves it to the reader to say why, behind all
                    # that has arrived.
                    if (error := task.exception()) and not isinstance(error, LinkLostError | ProtocolError):
                        raise error
            await reader
        finally:
            for task in [reader, *tasks]:
                task.cancel()
            await asyncio.gather(reader, *tasks, return_exceptions=True)

    async def _read(self, link: Link, silence: float) -> None:
        while True:
            frame = await link.receive(silence)
            self._core.take(frame)
            self._backoff.succeeded()
            self._faults = 0

    async def _write(self, link: Link) -> None:
        core = self._core
        while True:
            item = core.next()
            if item is None:
                core.wake.clear()
                self._drained.set()
                await core.wake.wait()
                continue
            payload, cid = item
            try:
                await link.send(payload, cid)
            except (MessageTooLargeError, PayloadError) as error:
                core.unsendable(cid, error)

    async def _beat(self, link: Link, interval: float) -> None:
        await asyncio.sleep(random.uniform(0, interval))
        while True:
            await link.send(Heartbeat(seq=self._core.seq))
            await asyncio.sleep(interval)

    async def _renew(self) -> None:
        """Renews the token before it runs out."""
        while True:
            self._tokens.changed.clear()
            rest = self._tokens.renew_in()
            if rest is None:
                await self._tokens.changed.wait()
                continue
            try:
                async with asyncio.timeout(max(rest, 0)):
                    await self._tokens.changed.wait()
                continue
            except TimeoutError:
                pass
            try:
                token = await self._tokens.fresh()
                self._tokens.lasts((await self._core.ask(Auth(token=token), Authed)).expires_ms)
            except Exception as error:  # noqa: BLE001 - whatever the user's function raises
                log.warning("the token could not be renewed: %s", error)
            await asyncio.sleep(RETRY_RENEWAL)

    async def flush(self) -> None:
        """Waits until all that was said has been sent, if there is a socket. It will be closed politely."""
        self._closing = True
        while self._link is not None and self._core.wake.is_set():
            self._drained.clear()
            await self._drained.wait()


async def open_session(runner: Runner, task: "asyncio.Task[None]", limit: float) -> None:
    """Waits for the first ``ready``, or raises why there is none."""
    opened = asyncio.create_task(runner.opened.wait())
    try:
        await asyncio.wait({opened, task}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    finally:
        opened.cancel()
    if runner.opened.is_set():
        return
    if task.done():
        task.result()
    why = f": {runner.last}" if runner.last is not None else ""
    raise ConnectError(f"no session within {limit:g} s{why}") from runner.last
