"""The table of close codes, and the pauses between attempts."""

import pytest

from npc_gateway_client import CloseCode, Limits, Reconnect, Timeouts
from npc_gateway_client.errors import (
    BadFrameError,
    ConnectionForbiddenError,
    FrameTooLargeError,
    IdentifyTimeoutError,
    RequestError,
    SessionClosedError,
    SessionReplacedError,
    UnauthenticatedError,
    UnsupportedProtocolError,
    closed,
    refused,
)
from npc_gateway_client.link.backoff import Backoff
from npc_gateway_client.link.closing import Then, after
from npc_gateway_client.wire.codes import ErrorCode
from npc_gateway_client.wire.server import ErrorFrame

TABLE = {
    4000: (Then.RESUME, SessionClosedError),
    4001: (Then.IDENTIFY, SessionClosedError),
    4002: (Then.RESUME, SessionClosedError),
    4003: (Then.RESUME, SessionClosedError),
    4004: (Then.WAIT_RESUME, SessionClosedError),
    4005: (Then.WAIT_IDENTIFY, SessionClosedError),
    4006: (Then.RESUME, SessionClosedError),
    4500: (Then.STOP, BadFrameError),
    4501: (Then.STOP, UnsupportedProtocolError),
    4502: (Then.NEW_TOKEN, UnauthenticatedError),
    4503: (Then.STOP, ConnectionForbiddenError),
    4504: (Then.STOP, FrameTooLargeError),
    4505: (Then.STOP, SessionReplacedError),
    4506: (Then.STOP, IdentifyTimeoutError),
}


def test_the_table_is_that_of_the_protocol() -> None:
    assert set(TABLE) == set(CloseCode)
    for code, (then, error) in TABLE.items():
        assert after(code) is then, code
        raised = closed(code, "name")
        assert type(raised) is error
        assert (raised.code, raised.reason) == (code, "name")


@pytest.mark.parametrize("code", [None, 1000, 1001, 1005, 1006, 1011, 1012, 1013, 4007, 4499, 5000])
def test_others_come_back(code: int | None) -> None:
    assert after(code) is Then.RESUME


@pytest.mark.parametrize("code", [1003, 1007, 1009, 1010, 4507, 4999])
def test_others_do_not(code: int) -> None:
    assert after(code) is Then.STOP


def test_every_error_code_has_a_type() -> None:
    types = {type(refused(ErrorFrame(code=code, message="m", temporary=False))) for code in ErrorCode}
    assert len(types) == len(ErrorCode)
    assert RequestError not in types
    other = refused(ErrorFrame(code="too_foggy", message="wait", temporary=True, retry_after_ms=5))
    assert type(other) is RequestError
    assert (str(other), other.retry_after_ms) == ("too_foggy: wait", 5)


def test_pauses_grow_to_the_cap_and_begin_anew() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    backoff = Backoff(Reconnect(base=0.5, cap=3.0, wait=7.0), uniform)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.next(wait=True) == 10.0
    backoff.succeeded()
    assert backoff.next() == 0.5
    assert all(low == 0.0 for low, _ in asked)
    backoff.attempts = 100_000
    assert backoff.next() == 3.0


def test_pauses_are_random() -> None:
    backoff = Backoff(Reconnect(base=1.0, cap=1.0))
    pauses = {backoff.next() for _ in range(100)}
    assert len(pauses) > 90
    assert all(0 <= pause <= 1 for pause in pauses)


def test_attempts_are_counted() -> None:
    backoff = Backoff(Reconnect(attempts=2))
    exhausted = []
    for _ in range(3):
        exhausted.append(backoff.exhausted)
        backoff.next()
    backoff.succeeded()
    exhausted.append(backoff.exhausted)
    assert exhausted == [False, False, True, False]
    assert not Backoff(Reconnect()).exhausted


def test_settings_have_bounds() -> None:
    for wrong in ({"base": 0}, {"base": 2, "cap": 1}, {"wait": -1}, {"attempts": -1}):
        with pytest.raises(ValueError, match="must be"):
            Reconnect(**wrong)
    for name in Limits.__slots__:
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            Limits(**{name: 0})
    for name in Timeouts.__slots__:
        with pytest.raises(ValueError, match=f"{name} must be above 0"):
            Timeouts(**{name: 0})
