"""What a client does after a close code: the table of the protocol."""

from enum import Enum

from ..wire.codes import CloseCode


class Then(Enum):
    """What comes after the end of a socket."""

    RESUME = "resume"
    WAIT_RESUME = "wait, then resume"
    IDENTIFY = "identify again"
    WAIT_IDENTIFY = "wait, then identify"
    NEW_TOKEN = "new token"
    STOP = "stop"


_TABLE: dict[int, Then] = {
    CloseCode.INTERNAL: Then.RESUME,
    CloseCode.DRAINING: Then.IDENTIFY,
    CloseCode.SLOW_CONSUMER: Then.RESUME,
    CloseCode.HEARTBEAT_TIMEOUT: Then.RESUME,
    CloseCode.RATE_LIMITED: Then.WAIT_RESUME,
    CloseCode.SESSION_LIMIT: Then.WAIT_IDENTIFY,
    CloseCode.IDLE: Then.RESUME,
    CloseCode.BAD_FRAME: Then.STOP,
    CloseCode.UNSUPPORTED_PROTOCOL: Then.STOP,
    CloseCode.UNAUTHENTICATED: Then.NEW_TOKEN,
    CloseCode.FORBIDDEN: Then.STOP,
    CloseCode.FRAME_TOO_LARGE: Then.STOP,
    CloseCode.SESSION_REPLACED: Then.STOP,
    CloseCode.IDENTIFY_TIMEOUT: Then.STOP,
}

_OUR_FAULT = frozenset({1003, 1007, 1009, 1010})
"""Codes of RFC 6455 that blame what the client sent."""


def after(code: int | None) -> Then:
    """What to do; ``None`` stands for a connection that ended without a word.

    Codes that are in no table follow their range: 4000 to 4499 come back, 4500 to 4999 not with the same
    input.
    """
    if code is None:
        return Then.RESUME
    if code in _TABLE:
        return _TABLE[code]
    if code in _OUR_FAULT or 4500 <= code <= 4999:
        return Then.STOP
    return Then.RESUME
