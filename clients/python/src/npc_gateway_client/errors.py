"""Everything that can go wrong, by type."""

from .wire.codes import CloseCode, ErrorCode
from .wire.server import ErrorFrame
from .wire.turn import TurnDone


class GatewayError(Exception):
    """The base of every error of this library."""


class ConnectError(GatewayError):
    """The gateway could not be reached, or refused the upgrade.

    ``status`` is the HTTP status where there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ProtocolError(GatewayError):
    """The gateway sent what the protocol does not allow."""


class SequenceError(ProtocolError):
    """``s`` has a hole, or came twice."""


class TooManyRequestsError(GatewayError):
    """More is waiting for the gateway than ``Limits`` allows. Nothing was sent."""


class MessageTooLargeError(GatewayError):
    """A frame is larger than the gateway takes. Nothing was sent."""


class EventsLostError(GatewayError):
    """Whoever reads the events was so slow that some no longer fit into ``Limits``."""


class TurnLostError(GatewayError):
    """A turn was lost together with its session, after a part of it was received.

    ``text`` is that part. Say the line again to get another answer.
    """

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class SessionClosedError(GatewayError):
    """The session has ended and will not come back.

    ``code`` is the close code where the gateway gave one, ``reason`` its reason.
    """

    def __init__(self, message: str, *, code: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class BadFrameError(SessionClosedError):
    """4500: the gateway could not read what this client sent."""


class UnsupportedProtocolError(SessionClosedError):
    """4501, or a ``hello`` of another version: this client is too old or too new."""


class UnauthenticatedError(SessionClosedError):
    """4502: the token is bad or has expired, and there was no better one."""


class ConnectionForbiddenError(SessionClosedError):
    """4503: the player may not connect."""


class FrameTooLargeError(SessionClosedError):
    """4504: a message was larger than the gateway takes."""


class SessionReplacedError(SessionClosedError):
    """4505: another socket owns the session now."""


class IdentifyTimeoutError(SessionClosedError):
    """4506: the client did not identify in time."""


_BY_CLOSE_CODE: dict[int, type[SessionClosedError]] = {
    CloseCode.BAD_FRAME: BadFrameError,
    CloseCode.UNSUPPORTED_PROTOCOL: UnsupportedProtocolError,
    CloseCode.UNAUTHENTICATED: UnauthenticatedError,
    CloseCode.FORBIDDEN: ConnectionForbiddenError,
    CloseCode.FRAME_TOO_LARGE: FrameTooLargeError,
    CloseCode.SESSION_REPLACED: SessionReplacedError,
    CloseCode.IDENTIFY_TIMEOUT: IdentifyTimeoutError,
}


def closed(code: int | None, reason: str) -> SessionClosedError:
    """The error of a close code."""
    if code is None:
        return SessionClosedError(reason or "the connection was lost")
    cls = _BY_CLOSE_CODE.get(code, SessionClosedError)
    return cls(f"the gateway closed the session: {code} {reason}".rstrip(), code=code, reason=reason)


class RequestError(GatewayError):
    """The gateway answered ``error``.

    ``temporary`` says whether the same may succeed later, ``retry_after_ms`` when. ``done`` is the end of
    the turn, where one had begun.
    """

    def __init__(self, frame: ErrorFrame, done: TurnDone | None = None) -> None:
        super().__init__(f"{frame.code}: {frame.message}")
        self.code = frame.code
        self.message = frame.message
        self.temporary = frame.temporary
        self.retry_after_ms = frame.retry_after_ms
        self.turn = frame.turn
        self.npc = frame.npc
        self.field = frame.field
        self.limit = frame.limit
        self.done = done


class UnknownOpError(RequestError):
    """The gateway does not know such a frame."""


class BadPayloadError(RequestError):
    """A key is missing, or its value is wrong; ``field`` names it."""


class UnknownNpcError(RequestError):
    """There is no such NPC, or it was not joined."""


class UnknownArchetypeError(RequestError):
    """No pack has this name."""


class UnknownTurnError(RequestError):
    """No turn of this player has this id, or it ended too long ago."""


class DuplicateTurnError(RequestError):
    """A turn with this id is running already."""


class TextTooLongError(RequestError):
    """A text has more than ``limit`` characters."""


class TooManyNpcsError(RequestError):
    """The session has joined as many NPCs as it may."""


class RateLimitedError(RequestError):
    """Too much in a time."""


class OverloadedError(RequestError):
    """The gateway has no room for it now; ``retry_after_ms`` says when to try again."""


class EngineFailedError(RequestError):
    """The model failed."""


class StorageFailedError(RequestError):
    """The store failed."""


class ForbiddenError(RequestError):
    """The player's scopes do not allow it."""


class NotAvailableError(RequestError):
    """The protocol has it, this gateway does not."""


_BY_ERROR_CODE: dict[str, type[RequestError]] = {
    ErrorCode.UNKNOWN_OP: UnknownOpError,
    ErrorCode.BAD_PAYLOAD: BadPayloadError,
    ErrorCode.UNKNOWN_NPC: UnknownNpcError,
    ErrorCode.UNKNOWN_ARCHETYPE: UnknownArchetypeError,
    ErrorCode.UNKNOWN_TURN: UnknownTurnError,
    ErrorCode.DUPLICATE_TURN: DuplicateTurnError,
    ErrorCode.TEXT_TOO_LONG: TextTooLongError,
    ErrorCode.TOO_MANY_NPCS: TooManyNpcsError,
    ErrorCode.RATE_LIMITED: RateLimitedError,
    ErrorCode.OVERLOADED: OverloadedError,
    ErrorCode.ENGINE_FAILED: EngineFailedError,
    ErrorCode.STORAGE_FAILED: StorageFailedError,
    ErrorCode.FORBIDDEN: ForbiddenError,
    ErrorCode.NOT_AVAILABLE: NotAvailableError,
}


def refused(frame: ErrorFrame, done: TurnDone | None = None) -> RequestError:
    """The error of an ``error`` frame."""
    return _BY_ERROR_CODE.get(frame.code, RequestError)(frame, done)
