"""The payloads that a turn is made of: everything that the gateway sends between a line and its end."""

from dataclasses import dataclass
from typing import ClassVar

from .codes import DoneReason, EmotionLabel


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
    #: Why it is answered with these adapters, or with none.
    reason: str | None = None
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
