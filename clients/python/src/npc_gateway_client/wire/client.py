"""The payloads that a client sends, one class for each ``op``. ``None`` leaves a key out."""

from dataclasses import dataclass
from typing import ClassVar

from .codes import EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """Name and version of the program, 1 to 64 characters each."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """Who is there."""

    op: ClassVar[str] = "identify"
    token: str
    client: ClientInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Takes up a session whose socket is gone; ``seq`` is the last ``s`` received."""

    op: ClassVar[str] = "resume"
    session: str
    resume_token: str
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The client is alive and has received everything up to ``seq``."""

    op: ClassVar[str] = "heartbeat"
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Renews a token that is about to expire."""

    op: ClassVar[str] = "auth"
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcJoin:
    """The player meets an NPC, which is made if it is new."""

    op: ClassVar[str] = "npc.join"
    npc: str
    archetype: str | None = None
    name: str | None = None
    seed: int | None = None
    personality: dict[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcFocus:
    """The player approaches an NPC."""

    op: ClassVar[str] = "npc.focus"
    npc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcLeave:
    """The player leaves an NPC."""

    op: ClassVar[str] = "npc.leave"
    npc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that the NPC may do."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How one line is generated; what is ``None`` comes from the gateway's settings."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    greedy: bool | None = None
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """One line of the player."""

    op: ClassVar[str] = "say"
    npc: str
    turn: str
    text: str
    actions: tuple[Action, ...] | None = None
    context: str | None = None
    generation: Generation | None = None
    mix: dict[str, float] | None = None
    audience: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Interrupts a turn; ``heard_offset`` is how far the player heard it."""

    op: ClassVar[str] = "cancel"
    turn: str
    heard_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """How far the player has heard a turn."""

    op: ClassVar[str] = "playback"
    turn: str
    heard_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What became of an action that was proposed."""

    op: ClassVar[str] = "action.result"
    turn: str
    action: str
    ok: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GameEvent:
    """Something happened that the NPC should remember."""

    op: ClassVar[str] = "event"
    npc: str
    event: str
    kind: EventKind | str
    text: str
    importance: float | None = None
    witnesses: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcAct:
    """Asks what an NPC does on its own."""

    op: ClassVar[str] = "npc.act"
    npc: str
    act: str
    tasks: tuple[str, ...]
    context: str
    actions: tuple[Action, ...] | None = None


ClientPayload = (
    Identify
    | Resume
    | Heartbeat
    | Auth
    | NpcJoin
    | NpcFocus
    | NpcLeave
    | Say
    | Cancel
    | Playback
    | ActionResult
    | GameEvent
    | NpcAct
)
"""Every payload that a client sends."""
