"""Tokens that run out; with a server that plays a script."""

import time
from typing import Any

import pytest

from npc_gateway_client import (
    Authed,
    Disconnected,
    Reconnected,
    Token,
    UnauthenticatedError,
)

from .player import to, until
from .scripted import Peer, Scripted


def tokens(*texts: str | Token) -> tuple[Any, list[str]]:
    """A function that gives these one after the other, and the list of those that were given."""
    given: list[str] = []

    async def fetch() -> str | Token:
        token = texts[min(len(given), len(texts) - 1)]
        given.append(token if isinstance(token, str) else token.text)
        return token

    return fetch, given


async def test_a_token_is_renewed_before_it_runs_out(scripted: Scripted) -> None:
    async def talk(peer: Peer) -> None:
        assert (await peer.ready())["d"]["token"] == "one"
        auth = await peer.expect("auth")
        assert auth["d"] == {"token": "two"}
        await peer.send("authed", {"expires_ms": 3_600_000}, cid=auth["cid"])
        auth = await peer.expect("auth")
        assert auth["d"] == {"token": "by hand"}
        await peer.send("authed", cid=auth["cid"])
        await peer.until_gone()

    fetch, given = tokens(Token("one", expires_at=time.time() + 0.3), "two")
    scripted.play(talk)
    async with to(scripted, token=fetch) as session:
        events = session.events()
        assert (await until(events, Authed)).expires_ms == 3_600_000
        assert (await session.renew("by hand")).expires_ms is None
    assert given == ["one", "two"]
    await scripted.finished()


async def test_a_token_that_ran_out_while_connected(scripted: Scripted) -> None:
    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.close(4502, "unauthenticated")

    async def resumed(peer: Peer) -> None:
        await peer.resume()
        await peer.resumed()
        auth = await peer.expect("auth")
        assert auth["d"] == {"token": "two"}
        await peer.send("authed", cid=auth["cid"])
        await peer.until_gone()

    fetch, given = tokens("one", "two")
    scripted.play(first, resumed)
    async with to(scripted, token=fetch) as session:
        events = session.events()
        assert (await until(events, Disconnected)).code == 4502
        assert (await until(events, Reconnected)).resumed
        assert (await until(events, Authed)).op == "authed"
    assert given == ["one", "two"]
    await scripted.finished()


async def test_the_same_where_the_old_session_takes_no_new_token(scripted: Scripted) -> None:
    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.close(4502)

    async def refused(peer: Peer) -> None:
        await peer.resume()
        await peer.close(4502)

    async def anew(peer: Peer) -> None:
        assert (await peer.ready(session="s2"))["d"]["token"] == "three"
        await peer.until_gone()

    fetch, given = tokens("one", "two", "three")
    scripted.play(first, refused, anew)
    async with to(scripted, token=fetch) as session:
        events = session.events()
        assert not (await until(events, Reconnected)).resumed
        assert session.ready.session == "s2"
    assert given == ["one", "two", "three"]
    await scripted.finished()


async def test_a_token_that_is_never_good_is_an_error(scripted: Scripted) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.hello()
        await peer.expect("identify")
        await peer.close(4502)

    fetch, given = tokens("bad", "worse", "worst")
    scripted.play(refuse, refuse, refuse)
    with pytest.raises(UnauthenticatedError):
        await to(scripted, token=fetch)
    assert given == ["bad", "worse", "worst"]
    await scripted.finished()


async def test_who_gives_tokens_may_fail(scripted: Scripted) -> None:
    async def broken() -> str:
        raise LookupError("nobody is logged in")

    with pytest.raises(LookupError, match="nobody is logged in"):
        await to(scripted, token=broken)

    calls = 0

    def flaky() -> str:
        nonlocal calls
        calls += 1
        if calls in (2, 3):
            raise OSError("away")
        return f"token-{calls}"

    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.close(4001)

    async def second(peer: Peer) -> None:
        assert (await peer.ready())["d"]["token"] == "token-4"
        await peer.until_gone()

    scripted.play(first, second)
    async with to(scripted, token=flaky) as session:
        events = session.events()
        await until(events, Reconnected)
    await scripted.finished()
