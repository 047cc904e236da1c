"""The payloads that the gateway sends, one class for each ``op``.

``None`` stands for a key that is absent. ``*_ms`` are milliseconds; offsets count Unicode scalar values, as
``len`` of a ``str`` does; probabilities and intensities lie in 0..1.
"""

from dataclasses import dataclass
from typing import ClassVar

from .codes import DoneReason, EmotionLabel, EngineKind, ErrorCode, ResumeFailure


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
class AdapterUse:
    """One adapter of a turn's mix."""

    id: str
    task: str
    version: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted:
    """The NPC begins to answer."""

    op: ClassVar[str] = "turn.started"
    turn: str
    npc: str
    player: str
    text: str
    generic: bool
    adapters: tuple[AdapterUse, ...]
    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueDelta:
    """More of the NPC's line. ``str(delta)`` is its text."""

    op: ClassVar[str] = "dialogue.delta"
    turn: str
    player: str
    text: str
    offset: int
    t_ms: int
    tokens: int

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Emotion:
    """What the NPC feels from here on."""

    op: ClassVar[str] = "emotion"
    turn: str
    player: str
    label: EmotionLabel | str
    intensity: float
    probs: dict[str, float]
    text_offset: int
    t_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceKey:
    """A pose of the face: ``w`` has a byte for each of the rig's shapes."""

    op: ClassVar[str] = "face.key"
    turn: str
    player: str
    text_offset: int
    t_ms: int
    ease_ms: int
    au: dict[str, float]
    w: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionProposed:
    """The NPC wants to do one of the things that were offered."""

    op: ClassVar[str] = "action.proposed"
    turn: str
    player: str
    action: str
    name: str
    p: float
    text_offset: int
    t_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Social:
    """The relationship has moved."""

    op: ClassVar[str] = "social"
    turn: str
    player: str
    delta: dict[str, float]
    relationship: dict[str, float]
    text_offset: int
    t_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedGoal:
    """A goal and how much it drives the NPC now."""

    id: str
    text: str
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What drives the NPC now."""

    op: ClassVar[str] = "goal"
    turn: str
    player: str
    ranked: tuple[RankedGoal, ...]
    text_offset: int
    t_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a turn."""

    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a turn waited, until its first token, and in all."""

    queue_ms: int
    ttft_ms: int
    total_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDone:
    """The last frame of a turn; ``text`` is the whole line."""

    op: ClassVar[str] = "turn.done"
    turn: str
    player: str
    npc: str
    reason: DoneReason | str
    text: str
    fallback: bool
    usage: Usage
    timing: Timing
    interaction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidThrough:
    """Where a cancelled turn ends."""

    text_offset: int
    t_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCancelled:
    """The turn counts up to ``valid_through``; the actions in ``retracted`` never happened."""

    op: ClassVar[str] = "turn.cancelled"
    turn: str
    player: str
    valid_through: ValidThrough
    retracted: tuple[str, ...]


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


TurnEvent = (
    TurnStarted
    | DialogueDelta
    | Emotion
    | FaceKey
    | ActionProposed
    | Social
    | Goal
    | TurnCancelled
    | TurnDone
)
"""What a turn is made of."""

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
