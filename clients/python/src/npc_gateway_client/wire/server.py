"""The payloads that the gateway sends, one class for each ``op``; those of a turn are in ``turn``.

``None`` stands for a key that is absent. ``*_ms`` are milliseconds; offsets count Unicode scalar values, as
``len`` of a ``str`` does; probabilities and intensities lie in 0..1.
"""

from dataclasses import dataclass
from typing import ClassVar

from .codes import EngineKind, ErrorCode, ResumeFailure
from .turn import TurnEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame of every socket."""

    op: ClassVar[str] = "hello"
    protocol: int
    server: str
    engine: EngineKind | str
    heartbeat_ms: int
    identify_timeout_ms: int
    max_frame_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The session exists; its ``s`` is 1."""

    op: ClassVar[str] = "ready"
    session: str
    resume_token: str
    epoch: str
    player: str
    scopes: tuple[str, ...]
    resume_window_ms: int
    limits: dict[str, int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Everything that was missed has been sent again."""

    op: ClassVar[str] = "resumed"
    seq: int
    replayed: int
    resume_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeFailed:
    """The session is gone for this client; it may identify anew."""

    op: ClassVar[str] = "resume_failed"
    reason: ResumeFailure | str
    recovered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatAck:
    """The answer to a heartbeat."""

    op: ClassVar[str] = "heartbeat_ack"
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authed:
    """The new token was taken."""

    op: ClassVar[str] = "authed"
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcGoal:
    """Something that an NPC wants."""

    id: str
    text: str
    priority: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcInfo:
    """Who an NPC is."""

    id: str
    name: str
    archetype: str
    seed: int
    personality: dict[str, float] | None = None
    body: dict[str, object] | None = None
    goals: tuple[NpcGoal, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """What an NPC holds of the player, each -1..1."""

    trust: float
    respect: float
    familiarity: float
    fear: float
    affection: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRig:
    """What the bytes of ``face.key`` mean."""

    rig: str
    shapes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTask:
    """The adapter of one task."""

    adapter: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that renders elsewhere what the NPC says or does."""

    url: str
    parameters: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What renders elsewhere."""

    voice: Service | None = None
    facial: Service | None = None
    body: Service | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What an NPC's answers are made with."""

    archetype: str
    generic: bool
    tasks: dict[str, ChainTask]
    services: Services | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcJoined:
    """The player has met an NPC."""

    op: ClassVar[str] = "npc.joined"
    npc: NpcInfo
    relationship: Relationship | None = None
    face: FaceRig | None = None
    chain: Chain


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcWarm:
    """The NPC's prompt is computed: ``tokens`` of it, in ``ms``."""

    op: ClassVar[str] = "npc.warm"
    npc: str
    tokens: int
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcLeft:
    """The player has left an NPC."""

    op: ClassVar[str] = "npc.left"
    npc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecorded:
    """The NPC will remember it."""

    op: ClassVar[str] = "event.recorded"
    event: str | None = None
    interaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChoice:
    """What one task chose."""

    choice: str
    probs: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class NpcActed:
    """What an NPC chose to do on its own."""

    op: ClassVar[str] = "npc.acted"
    npc: str
    act: str
    results: dict[str, TaskChoice]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFrame:
    """What a frame or a turn ran into; the socket stays open."""

    op: ClassVar[str] = "error"
    code: ErrorCode | str
    message: str
    temporary: bool
    retry_after_ms: int | None = None
    turn: str | None = None
    npc: str | None = None
    field: str | None = None
    limit: int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A frame that this version does not know."""

    op: str
    d: dict[str, object]


ServerPayload = (
    Hello
    | Ready
    | Resumed
    | ResumeFailed
    | HeartbeatAck
    | Authed
    | NpcJoined
    | NpcWarm
    | NpcLeft
    | TurnEvent
    | EventRecorded
    | NpcActed
    | ErrorFrame
    | Unknown
)
"""Every payload that the gateway sends."""
