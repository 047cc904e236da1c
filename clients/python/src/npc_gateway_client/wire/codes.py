"""The closed lists of the protocol.

A newer gateway may send a word that is not here; payloads then carry the plain text, which is why such
fields are typed ``Word | str``.
"""

from enum import IntEnum, StrEnum


class Subprotocol(StrEnum):
    """How frames are written."""

    MSGPACK = "npc.v1.msgpack"
    JSON = "npc.v1.json"


class ErrorCode(StrEnum):
    """The ``code`` of an ``error`` frame."""

    UNKNOWN_OP = "unknown_op"
    BAD_PAYLOAD = "bad_payload"
    UNKNOWN_NPC = "unknown_npc"
    UNKNOWN_ARCHETYPE = "unknown_archetype"
    UNKNOWN_TURN = "unknown_turn"
    DUPLICATE_TURN = "duplicate_turn"
    TEXT_TOO_LONG = "text_too_long"
    TOO_MANY_NPCS = "too_many_npcs"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    ENGINE_FAILED = "engine_failed"
    STORAGE_FAILED = "storage_failed"
    FORBIDDEN = "forbidden"
    NOT_AVAILABLE = "not_available"


class CloseCode(IntEnum):
    """Why the gateway closes a socket; the close reason is the name in lower case."""

    INTERNAL = 4000
    DRAINING = 4001
    SLOW_CONSUMER = 4002
    HEARTBEAT_TIMEOUT = 4003
    RATE_LIMITED = 4004
    SESSION_LIMIT = 4005
    IDLE = 4006
    BAD_FRAME = 4500
    UNSUPPORTED_PROTOCOL = 4501
    UNAUTHENTICATED = 4502
    FORBIDDEN = 4503
    FRAME_TOO_LARGE = 4504
    SESSION_REPLACED = 4505
    IDENTIFY_TIMEOUT = 4506


class EngineKind(StrEnum):
    """What makes the text."""

    MODEL = "model"
    SCRIPTED = "scripted"


class ResumeFailure(StrEnum):
    """Why a session could not be resumed."""

    UNKNOWN_SESSION = "unknown_session"
    BAD_TOKEN = "bad_token"
    EPOCH_CHANGED = "epoch_changed"
    EXPIRED = "expired"
    GAP = "gap"
    BAD_SUBPROTOCOL = "bad_subprotocol"


class DoneReason(StrEnum):
    """Why a turn ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    ERROR = "error"


class EmotionLabel(StrEnum):
    """What an NPC feels."""

    NEUTRAL = "neutral"
    JOY = "joy"
    SADNESS = "sadness"
    ANGER = "anger"
    FEAR = "fear"
    DISGUST = "disgust"
    SURPRISE = "surprise"
    CONTEMPT = "contempt"


class EventKind(StrEnum):
    """What happened in the game's world."""

    INJURY = "injury"
    GIFT = "gift"
    THREAT = "threat"
    WITNESS = "witness"
    CUSTOM = "custom"
