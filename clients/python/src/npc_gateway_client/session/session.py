"""What a user of the library holds."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from ..errors import GatewayError, SessionClosedError
from ..link.socket import Route
from ..settings import Limits, Reconnect, Timeouts
from ..wire.client import Auth, ClientInfo, NpcJoin
from ..wire.server import Authed, Hello, Ready
from .core import Core
from .events import Subscription
from .npc import Npc
from .runner import Runner, open_session
from .tokens import Token, Tokens, TokenSource


class Session:
    """A player at a gateway, on one socket after another.

    Made by :func:`connect`. Not safe to use from several threads.
    """

    def __init__(
        self,
        route: Route,
        token: TokenSource,
        client: ClientInfo,
        reconnect: Reconnect,
        limits: Limits,
        timeouts: Timeouts,
    ) -> None:
        self._core = Core(limits)
        self._tokens = Tokens(token)
        self._runner = Runner(self._core, route, self._tokens, client, reconnect, timeouts)
        self._timeouts = timeouts
        self._task: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    async def open(self) -> Self:
        """Waits for the first ``ready``. :func:`connect` calls it."""
        if self._task is not None:
            raise RuntimeError("the session was opened already")
        self._task = asyncio.create_task(self._main())
        # What ended it is told by the session; a task must not complain beside it.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await open_session(self._runner, self._task, self._timeouts.open)
        except BaseException:
            await self.close()
            raise
        return self

    async def _main(self) -> None:
        try:
            await self._runner.run()
        except asyncio.CancelledError:
            self._core.end(SessionClosedError("the session was closed by this client"))
            raise
        except GatewayError as error:
            self._core.end(error)
            raise
        except Exception as error:
            self._core.end(SessionClosedError(f"the client failed: {error!r}"))
            raise
        finally:
            self._closed.set()

    @property
    def hello(self) -> Hello:
        """What the gateway said of itself on the socket that is open now. Raises ``SessionClosedError``
        between two sockets."""
        link = self._runner.link
        if link is None:
            raise SessionClosedError("there is no connection now")
        return link.hello

    @property
    def connected(self) -> bool:
        """Whether a socket carries the session now."""
        return self._runner.link is not None

    @property
    def ready(self) -> Ready:
        """What the gateway said of the session."""
        if self._core.ready is None:
            raise SessionClosedError("the session was never ready")
        return self._core.ready

    @property
    def player(self) -> str:
        """Who plays."""
        return self.ready.player

    @property
    def seq(self) -> int:
        """The number of the last frame received. There is no hole below it."""
        return self._core.seq

    @property
    def npcs(self) -> Mapping[str, Npc]:
        """The NPCs that were joined, by their ids."""
        return dict(self._core.npcs)

    async def join(
        self,
        npc: str,
        archetype: str | None = None,
        *,
        name: str | None = None,
        seed: int | None = None,
        personality: Mapping[str, float] | None = None,
    ) -> Npc:
        """Meets an NPC. ``archetype`` is needed when it is new."""
        return await self._core.join(
            NpcJoin(
                npc=npc,
                archetype=archetype,
                name=name,
                seed=seed,
                personality=None if personality is None else dict(personality),
            )
        )

    def events(self) -> Subscription:
        """Everything that comes from now on: each frame, and what happens to the connection.

        ::

            with session.events() as events:
                async for event in events:
                    ...
        """
        return self._core.subscribe()

    async def renew(self, token: str | Token) -> Authed:
        """Gives the gateway a new token before the old one runs out. Not needed where :func:`connect` got a
        function that fetches tokens whose end is known."""
        authed = await self._core.ask(Auth(token=self._tokens.replace(token)), Authed)
        self._tokens.lasts(authed.expires_ms)
        return authed

    async def wait_closed(self) -> None:
        """Waits for the end of the session, and raises what ended it unless it was :meth:`close`."""
        await self._closed.wait()
        if self._task is not None and not self._task.cancelled():
            self._task.result()

    async def close(self) -> None:
        """Says good-bye. What waits for an answer fails with :class:`SessionClosedError`."""
        task = self._task
        if task is None:
            return
        if not task.done():
            try:
                async with asyncio.timeout(self._timeouts.close):
                    await self._runner.flush()
            except TimeoutError:
                pass
            task.cancel()
        await asyncio.wait({task})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
