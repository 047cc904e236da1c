"""Every way to lose a socket, and what comes after it; with a server that plays a script."""

import asyncio
from typing import Any

import pytest

from npc_gateway_client import (
    BadFrameError,
    CloseCode,
    ConnectionForbiddenError,
    Disconnected,
    FrameTooLargeError,
    IdentifyTimeoutError,
    ProtocolError,
    Reconnected,
    SessionClosedError,
    SessionReplacedError,
    UnauthenticatedError,
    UnsupportedProtocolError,
)

from .player import QUICK, ended, to, until
from .scripted import Peer, Scripted, delta, done, error, started

BACK_BY_RESUME = [None, 1011, 4000, 4002, 4003, 4004, 4006, 4007, 4499]
BACK_BY_IDENTIFY = [4001, 4005]


@pytest.mark.parametrize("code", BACK_BY_RESUME)
async def test_these_ends_are_resumed(scripted: Scripted, code: int | None) -> None:
    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        say = await peer.expect("say")
        await peer.send("turn.started", started(say["d"]["turn"]), cid=say["cid"])
        await peer.send("dialogue.delta", delta(say["d"]["turn"], "Good ", 0))
        await (peer.vanish() if code is None else peer.close(code, "why"))

    async def second(peer: Peer) -> None:
        resume = await peer.resume()
        assert resume["d"] == {"session": "s1", "resume_token": "r1", "epoch": "e1", "seq": 4}
        await peer.send("dialogue.delta", delta("t", "eve", 5))
        await peer.send("dialogue.delta", delta("t", "ning", 8))
        await peer.resumed(2)
        await peer.send("turn.done", done("t", "Good evening"))
        await peer.until_gone()

    scripted.play(first, second)
    async with to(scripted) as session:
        events = session.events()
        bram = await session.join("bram", "vampire")
        turn = bram.say("Hello", turn="t")
        # The loss does not show.
        assert "".join([part.text async for part in turn]) == (await turn).text == "Good evening"
        gone = await until(events, Disconnected)
        assert gone.code == code
        if code == CloseCode.RATE_LIMITED:
            assert gone.retry_in >= QUICK.wait
        assert await until(events, Reconnected) == Reconnected(resumed=True, replayed=2)
        assert session.seq == 7
    await scripted.finished()


@pytest.mark.parametrize("code", BACK_BY_IDENTIFY)
async def test_these_ends_need_a_new_session(scripted: Scripted, code: int) -> None:
    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        await peer.close(code)

    async def second(peer: Peer) -> None:
        await peer.ready(session="s2", epoch="e2")
        # It meets its NPCs again, as they were asked for.
        assert (await peer.joined())["d"] == {"npc": "bram", "archetype": "vampire", "seed": 7}
        say = await peer.expect("say")
        await peer.send("turn.done", done(say["d"]["turn"], "stored"), cid=say["cid"])
        await peer.until_gone()

    scripted.play(first, second)
    async with to(scripted) as session:
        with session.events() as events:
            bram = await session.join("bram", "vampire", seed=7)
            gone = await until(events, Disconnected)
            if code == CloseCode.SESSION_LIMIT:
                assert gone.retry_in >= QUICK.wait
            assert await until(events, Reconnected) == Reconnected(resumed=False, replayed=0)
        assert (await bram.say("Hello")).text == "stored"
        assert session.ready.session == "s2"
    await scripted.finished()


STOPS = [
    (4500, BadFrameError),
    (4501, UnsupportedProtocolError),
    (4502, UnauthenticatedError),
    (4503, ConnectionForbiddenError),
    (4504, FrameTooLargeError),
    (4505, SessionReplacedError),
    (4506, IdentifyTimeoutError),
    (4507, SessionClosedError),
    (1009, SessionClosedError),
]


@pytest.mark.parametrize(("code", "kind"), STOPS)
async def test_these_ends_are_the_end(scripted: Scripted, code: int, kind: type[SessionClosedError]) -> None:
    async def talk(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        await peer.expect("say")
        await peer.close(code, "name")

    scripted.play(talk)
    async with to(scripted) as session:
        bram = await session.join("bram")
        turn = bram.say("Hello")
        with pytest.raises(kind) as caught:
            await turn
        assert type(caught.value) is kind
        assert (caught.value.code, caught.value.reason) == (code, "name")
        with pytest.raises(kind):
            await ended(session)
        with pytest.raises(kind):
            await session.join("other")
        assert not session.connected
    await scripted.finished()
    assert scripted.connections == 1


@pytest.mark.parametrize(("code", "kind"), STOPS)
async def test_the_same_before_there_is_a_session(
    scripted: Scripted, code: int, kind: type[SessionClosedError]
) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.hello()
        await peer.expect("identify")
        await peer.close(code)

    scripted.play(refuse)
    with pytest.raises(kind):
        await to(scripted)
    await scripted.finished()
    assert scripted.connections == 1


@pytest.mark.parametrize(
    "reason", ["unknown_session", "bad_token", "epoch_changed", "expired", "gap", "bad_subprotocol"]
)
async def test_what_cannot_be_resumed_begins_anew_on_the_same_socket(scripted: Scripted, reason: str) -> None:
    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        say = await peer.expect("say")
        await peer.send("turn.started", started("t"), cid=say["cid"])
        await peer.send("dialogue.delta", delta("t", "Good ", 0))
        await peer.vanish()

    async def second(peer: Peer) -> None:
        await peer.resume()
        await peer.send("resume_failed", {"reason": reason, "recovered": False}, s=False)
        await peer.expect("identify")
        await peer.accept(session="s2", epoch="e2", token="r9")
        await peer.joined()
        say = await peer.expect("say")
        assert say["d"]["turn"] == "t"
        await peer.send("error", error("duplicate_turn", turn="t"), cid=say["cid"])
        assert await peer.expect("say") == say
        await peer.send("turn.done", done("t", "Good evening"), cid=say["cid"])
        await peer.vanish()

    async def third(peer: Peer) -> None:
        resume = await peer.resume()
        assert resume["d"] == {"session": "s2", "resume_token": "r9", "epoch": "e2", "seq": 4}
        await peer.resumed()
        await peer.until_gone()

    scripted.play(first, second, third)
    async with to(scripted) as session:
        with session.events() as events:
            bram = await session.join("bram")
            turn = bram.say("Hello", turn="t")
            assert [part.text async for part in turn] == ["Good ", "evening"]
            assert await until(events, Reconnected) == Reconnected(resumed=False, replayed=0)
            assert await until(events, Reconnected) == Reconnected(resumed=True, replayed=0)
    await scripted.finished()


async def test_the_newest_secret_is_used_and_nothing_is_sent_before_resumed(scripted: Scripted) -> None:
    release = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        await peer.vanish()

    async def cut_in_the_replay(peer: Peer) -> None:
        assert (await peer.resume())["d"]["resume_token"] == "r1"
        await peer.send("npc.left", {"npc": "other"})
        await peer.vanish()

    async def whole(peer: Peer) -> None:
        resume = await peer.resume(heartbeat_ms=100)
        # The old secret still counts, and what came of the replay was received.
        assert (resume["d"]["resume_token"], resume["d"]["seq"]) == ("r1", 3)
        await peer.send("npc.left", {"npc": "other"})
        release.set()
        sent = len(peer.server.frames)
        # A heartbeat or the line would make the old secret void: they wait.
        await asyncio.sleep(0.3)
        await peer.resumed(1, token="r2")
        say = await peer.expect("say")
        assert len(peer.server.frames) > sent
        await peer.send("turn.done", done(say["d"]["turn"], "yes"), cid=say["cid"])
        await peer.vanish()

    async def last(peer: Peer) -> None:
        assert (await peer.resume())["d"]["resume_token"] == "r2"
        await peer.resumed(token="r3")
        await peer.until_gone()

    scripted.play(first, cut_in_the_replay, whole, last)
    async with to(scripted) as session:
        events = session.events()
        bram = await session.join("bram")
        await release.wait()
        turn = bram.say("Hello")
        assert (await turn).text == "yes"
        for _ in range(2):
            await until(events, Reconnected)
    await scripted.finished()


async def test_a_hole_in_s_is_healed_by_a_resume(scripted: Scripted) -> None:
    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        await peer.send("npc.left", {"npc": "x"}, s=4)
        await peer.until_gone()

    async def second(peer: Peer) -> None:
        assert (await peer.resume())["d"]["seq"] == 2
        await peer.send("npc.left", {"npc": "w"})
        await peer.send("npc.left", {"npc": "x"})
        await peer.resumed(2)
        await peer.until_gone()

    scripted.play(first, second)
    async with to(scripted) as session:
        events = session.events()
        await session.join("bram")
        assert "has s 4 behind 2" in (await until(events, Disconnected)).reason
        await until(events, Reconnected)
        assert session.seq == 4
    await scripted.finished()


@pytest.mark.parametrize("wrong", ["hole", "no frame", "text", "payload"])
async def test_a_server_that_goes_on_breaking_the_protocol_is_left(scripted: Scripted, wrong: str) -> None:
    async def spoil(peer: Peer) -> None:
        if wrong == "hole":
            await peer.send("npc.left", {"npc": "x"}, s=9)
        elif wrong == "no frame":
            await peer.raw([1, 2])
        elif wrong == "text":
            await peer.message('{"op":"heartbeat_ack","d":{"seq":1}}')
        else:
            await peer.send("npc.left", {"npc": 7})
        await peer.until_gone()

    async def first(peer: Peer) -> None:
        await peer.ready()
        await spoil(peer)

    async def again(peer: Peer) -> None:
        await peer.resume()
        await spoil(peer)

    scripted.play(first, again, again)
    async with to(scripted) as session:
        with pytest.raises(SessionClosedError, match="the gateway breaks the protocol") as caught:
            await ended(session)
        assert isinstance(caught.value.__cause__, ProtocolError)
    await scripted.finished()
    assert scripted.connections == 3


@pytest.mark.parametrize("greeting", [{"protocol": 2}, None])
async def test_a_stranger_is_left(scripted: Scripted, greeting: dict[str, Any] | None) -> None:
    async def stranger(peer: Peer) -> None:
        if greeting is None:
            await peer.send("heartbeat_ack", {"seq": 0}, s=False)
        else:
            await peer.hello(**greeting)
        await peer.until_gone()

    scripted.play(stranger, stranger, stranger)
    if greeting is None:
        with pytest.raises(SessionClosedError, match="the first frame must be hello"):
            await to(scripted)
    else:
        with pytest.raises(UnsupportedProtocolError, match="speaks protocol 2, this client 1"):
            await to(scripted)
