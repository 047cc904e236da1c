"""What a user of the library may set, with its bounds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How a lost connection comes back. Times are seconds.

    Before attempt ``n`` the client waits a random time between 0 and ``base * 2**n``, at most ``cap``, so
    that many clients that lost the same gateway do not return in the same moment. Where the gateway asks
    to wait (``rate_limited``, ``session_limit``), at least ``wait`` passes before.
    """

    base: float = 0.25
    cap: float = 30.0
    wait: float = 2.0
    attempts: int | None = None
    """Attempts without success after which the session ends; ``None``: it goes on trying."""

    def __post_init__(self) -> None:
        if not 0 < self.base <= self.cap:
            raise ValueError("base must be above 0 and at most cap")
        if self.wait < 0:
            raise ValueError("wait must be at least 0")
        if self.attempts is not None and self.attempts < 0:
            raise ValueError("attempts must be at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what this client keeps in memory."""

    requests: int = 256
    """Frames that wait for the connection or for their answer; past it ``TooManyRequestsError``."""
    turns: int = 64
    """Turns that run at the same time; past it ``TooManyRequestsError``. As many that have ended are
    remembered, so that they can still be cancelled."""
    turn_events: int = 8192
    """Events of one turn; past it whoever iterates gets ``EventsLostError``."""
    session_events: int = 4096
    """Unread events of one ``session.events()``; past it that one gets ``EventsLostError``."""
    message_bytes: int = 1 << 20
    """The largest message taken from the gateway."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Bounds of waiting, in seconds. None of them bounds an answer: a busy gateway may take its time."""

    open: float = 10.0
    """Until the first ``ready``, all attempts together; past it ``ConnectError``."""
    handshake: float = 10.0
    """One opening of a socket; and between two frames of a handshake or of a replay."""
    close: float = 2.0
    """Until what was said last has left, and for the closing handshake."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
