"""An NPC that the player has met."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..wire.client import Action, GameEvent, Generation, NpcAct, NpcFocus, NpcJoin, NpcLeave, Say
from ..wire.codes import EventKind
from ..wire.server import Chain, EventRecorded, NpcActed, NpcInfo, NpcJoined, NpcLeft, NpcWarm
from .turn import Turn

if TYPE_CHECKING:
    from .core import Core

Actions = Mapping[str, str] | Iterable[Action]
"""What an NPC may do: name and description."""


def new_id() -> str:
    """An id that nobody has used: an idempotency key."""
    return secrets.token_hex(16)


def as_actions(actions: Actions | None) -> tuple[Action, ...] | None:
    """The actions of a payload."""
    if actions is None:
        return None
    if isinstance(actions, Mapping):
        return tuple(Action(name=name, description=text) for name, text in actions.items())
    return tuple(actions)


class Npc:
    """Made by :meth:`Session.join`; good for as long as the session, whatever happens to the connection."""

    def __init__(self, core: "Core", definition: NpcJoin, joined: NpcJoined) -> None:
        self._core = core
        self.definition = definition
        """What was asked for, which is asked for again in a new session."""
        self.joined = joined
        """What the gateway told about it last."""

    @property
    def id(self) -> str:
        """Its id."""
        return self.definition.npc

    @property
    def info(self) -> NpcInfo:
        """Who it is."""
        return self.joined.npc

    @property
    def chain(self) -> Chain:
        """What its answers are made with."""
        return self.joined.chain

    def say(
        self,
        text: str,
        *,
        actions: Actions | None = None,
        context: str | None = None,
        generation: Generation | None = None,
        mix: Mapping[str, float] | None = None,
        audience: Sequence[str] | None = None,
        turn: str | None = None,
    ) -> Turn:
        """Says a line. Returns at once; the turn tells what becomes of it.

        ``turn`` is its idempotency key, 1 to 64 characters, made anew when it is not given: saying the same
        turn again, after a crash of the game for example, answers with what is stored and runs nothing.

        Raises :class:`TooManyRequestsError` past ``Limits``, and :class:`SessionClosedError`.
        """
        return self._core.say(
            Say(
                npc=self.id,
                turn=new_id() if turn is None else turn,
                text=text,
                actions=as_actions(actions),
                context=context,
                generation=generation,
                mix=None if mix is None else dict(mix),
                audience=None if audience is None else tuple(audience),
            )
        )

    async def focus(self) -> NpcWarm:
        """The player approaches: the gateway computes what the next line begins with."""
        return await self._core.ask(NpcFocus(npc=self.id), NpcWarm)

    async def leave(self) -> NpcLeft:
        """The player goes away."""
        left = await self._core.ask(NpcLeave(npc=self.id), NpcLeft)
        self._core.left(self)
        return left

    async def event(
        self,
        kind: EventKind | str,
        text: str,
        *,
        importance: float | None = None,
        witnesses: Sequence[str] | None = None,
        event: str | None = None,
    ) -> EventRecorded:
        """Tells the NPC what happened. ``event`` is the idempotency key."""
        payload = GameEvent(
            npc=self.id,
            event=new_id() if event is None else event,
            kind=kind,
            text=text,
            importance=importance,
            witnesses=None if witnesses is None else tuple(witnesses),
        )
        return await self._core.ask(payload, EventRecorded)

    async def act(
        self,
        tasks: Sequence[str],
        context: str,
        *,
        actions: Actions | None = None,
        act: str | None = None,
    ) -> NpcActed:
        """Asks what the NPC does on its own. ``act`` is the idempotency key."""
        payload = NpcAct(
            npc=self.id,
            act=new_id() if act is None else act,
            tasks=tuple(tasks),
            context=context,
            actions=as_actions(actions),
        )
        return await self._core.ask(payload, NpcActed)
