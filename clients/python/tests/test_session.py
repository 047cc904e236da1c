"""A session on real sockets, with a server that plays a script: the handshake, and every way to lose one."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from npc_gateway_client import (
    BadFrameError,
    BadPayloadError,
    CloseCode,
    ConnectError,
    ConnectionForbiddenError,
    Disconnected,
    FrameTooLargeError,
    IdentifyTimeoutError,
    MessageTooLargeError,
    OverloadedError,
    ProtocolError,
    Reconnect,
    Reconnected,
    Session,
    SessionClosedError,
    SessionEvent,
    SessionReplacedError,
    Timeouts,
    Token,
    UnauthenticatedError,
    UnsupportedProtocolError,
    connect,
)

from .scripted import PATIENCE, Peer, Scripted, delta, done, error, started

QUICK = Reconnect(base=0.01, cap=0.05, wait=0.02)


def to(server: Scripted, **more: Any) -> connect:
    return connect(server.url, **{"token": "mina", "reconnect": QUICK, "client": ("test", "1"), **more})


async def until(events: Any, kind: type[SessionEvent]) -> Any:
    """The next event of a kind."""
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("no such event")


async def ended(session: Session) -> None:
    async with asyncio.timeout(PATIENCE):
        await session.wait_closed()


@pytest.mark.parametrize("subprotocol", ["msgpack", "json"])
async def test_a_conversation(scripted: Scripted, subprotocol: str) -> None:
    async def talk(peer: Peer) -> None:
        assert peer.binary is (subprotocol == "msgpack")
        assert await peer.ready() == {
            "op": "identify",
            "d": {"token": "mina", "client": {"name": "test", "version": "1"}},
        }
        join = await peer.joined()
        assert join["d"] == {"npc": "bram", "archetype": "vampire", "personality": {"pride": 0.5}}
        say = await peer.expect("say")
        turn = say["d"]["turn"]
        assert say["d"] == {
            "npc": "bram",
            "turn": turn,
            "text": "Hello",
            "actions": [{"name": "bow", "description": "Bows low"}],
            "context": "a crypt",
        }
        assert 1 <= len(turn) <= 64
        await peer.send("turn.started", started(turn), cid=say["cid"])
        await peer.send("dialogue.delta", delta(turn, "Good ", 0))
        await peer.send("dialogue.delta", delta(turn, "evening", 5))
        await peer.send("turn.done", done(turn, "Good evening"))
        leave = await peer.expect("npc.leave")
        await peer.send("npc.left", {"npc": "bram"}, cid=leave["cid"])
        await peer.until_gone()

    scripted.play(talk)
    async with to(scripted, subprotocol=subprotocol) as session:
        assert session.player == "mina"
        assert session.hello.server == "scripted/1"
        bram = await session.join("bram", "vampire", personality={"pride": 0.5})
        assert bram.info.name == "Bram"
        assert session.npcs == {"bram": bram}
        turn = bram.say("Hello", actions={"bow": "Bows low"}, context="a crypt")
        assert [str(part) async for part in turn] == ["Good ", "evening"]
        assert (await turn).text == "Good evening"
        await bram.leave()
        assert session.npcs == {}
        # ready, joined, started, two deltas, done, left.
        assert session.seq == 7
    await scripted.finished()


async def test_what_an_npc_does_beside_talking(scripted: Scripted) -> None:
    async def talk(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        focus = await peer.expect("npc.focus")
        await peer.send("npc.warm", {"npc": "bram", "tokens": 40, "ms": 3}, cid=focus["cid"])
        event = await peer.expect("event")
        assert event["d"]["kind"] == "gift"
        assert event["d"]["witnesses"] == ["lucy"]
        recorded = {"event": event["d"]["event"], "interaction": "i1"}
        await peer.send("event.recorded", recorded, cid=event["cid"])
        act = await peer.expect("npc.act")
        assert act["d"]["tasks"] == ["action_policy"]
        acted = {
            "npc": "bram",
            "act": act["d"]["act"],
            "results": {"action_policy": {"choice": "bow", "probs": {"bow": 1}}},
        }
        await peer.send("npc.acted", acted, cid=act["cid"])
        say = await peer.expect("say")
        turn = say["d"]["turn"]
        await peer.send("turn.started", started(turn), cid=say["cid"])
        proposed = {
            "turn": turn,
            "player": "mina",
            "action": "a1",
            "name": "bow",
            "p": 0.75,
            "text_offset": 0,
            "t_ms": 0,
        }
        await peer.send("action.proposed", proposed)
        result = await peer.expect("action.result")
        assert result["d"] == {"turn": turn, "action": "a1", "ok": False, "reason": "no room"}
        await peer.send("event.recorded", {"interaction": "i2"}, cid=result["cid"])
        await peer.send("turn.done", done(turn, ""))
        await peer.until_gone()

    scripted.play(talk)
    async with to(scripted) as session:
        bram = await session.join("bram")
        assert (await bram.focus()).tokens == 40
        assert (await bram.event("gift", "A rose", witnesses=["lucy"])).interaction == "i1"
        acted = await bram.act(["action_policy"], "The door opens", actions={"bow": "Bows low"})
        assert acted.results["action_policy"].choice == "bow"
        turn = bram.say("Bow!")
        async for event in turn.events():
            if event.op == "action.proposed":
                assert (await turn.result("a1", ok=False, reason="no room")).interaction == "i2"
    await scripted.finished()


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


async def test_heartbeats_acknowledge_what_was_received(scripted: Scripted) -> None:
    async def talk(peer: Peer) -> None:
        await peer.ready(heartbeat_ms=60)
        # The first comes at a random time within the interval, and then one after the other.
        first = await peer.expect("heartbeat")
        assert first["d"] == {"seq": 1}
        await peer.send("heartbeat_ack", first["d"], s=False)
        await peer.send("npc.left", {"npc": "x"})
        await peer.send("npc.left", {"npc": "y"})
        while (beat := await peer.expect("heartbeat"))["d"]["seq"] != 3:
            assert beat["d"]["seq"] in (1, 2)
            await peer.send("heartbeat_ack", beat["d"], s=False)
        await peer.until_gone()

    async def after_silence(peer: Peer) -> None:
        assert (await peer.resume())["d"]["seq"] == 3
        await peer.resumed()
        await peer.until_gone()

    scripted.play(talk, after_silence)
    async with to(scripted) as session:
        events = session.events()
        # Without a word for two intervals the connection is taken for dead.
        assert "nothing came for 0.12 s" in (await until(events, Disconnected)).reason
        await until(events, Reconnected)
    await scripted.finished()


def tokens(*texts: str | Token) -> tuple[Any, list[str]]:
    """A function that gives these one after the other, and the list of those that were given."""
    left: Sequence[str | Token] = texts
    given: list[str] = []

    async def fetch() -> str | Token:
        token = left[min(len(given), len(left) - 1)]
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
        async with asyncio.timeout(PATIENCE):
            async for event in events:
                if getattr(event, "op", None) == "authed":
                    break
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
        async with asyncio.timeout(PATIENCE):
            while len(scripted.frames) < 3:
                await asyncio.sleep(0.01)
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


async def test_what_is_too_large_is_not_sent(scripted: Scripted) -> None:
    async def talk(peer: Peer) -> None:
        await peer.ready(max_frame_bytes=300)
        await peer.joined()
        say = await peer.expect("say")
        assert say["d"]["text"] == "short"
        await peer.send("turn.done", done(say["d"]["turn"], "ok"), cid=say["cid"])
        await peer.until_gone()

    scripted.play(talk)
    async with to(scripted) as session:
        bram = await session.join("bram")
        with pytest.raises(MessageTooLargeError, match="say has .* bytes; the gateway takes 300"):
            await bram.say("long " * 100)
        assert (await bram.say("short")).text == "ok"
    await scripted.finished()


async def test_a_server_that_is_away_at_first(scripted: Scripted) -> None:
    async def talk(peer: Peer) -> None:
        await peer.ready()
        await peer.until_gone()

    async def busy(peer: Peer) -> None:
        await peer.hello()
        identify = await peer.expect("identify")
        await peer.send("error", error("overloaded", temporary=True), s=False, cid=identify.get("cid"))
        await peer.until_gone()

    scripted.statuses = [503, 502, 429]
    scripted.play(busy, talk)
    async with to(scripted) as session:
        assert session.connected
    await scripted.finished()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
async def test_a_refused_upgrade_is_an_error(scripted: Scripted, status: int) -> None:
    scripted.statuses = [status]
    with pytest.raises(ConnectError, match=f"HTTP {status}") as caught:
        await to(scripted)
    assert caught.value.status == status


async def test_identify_may_be_refused_for_good(scripted: Scripted) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.hello()
        await peer.expect("identify")
        await peer.send("error", error("bad_payload", field="client.name"), s=False)
        await peer.until_gone()

    scripted.play(refuse)
    with pytest.raises(BadPayloadError) as caught:
        await to(scripted)
    assert caught.value.field == "client.name"


async def test_nobody_there(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectError, match=r"no session within 0\.3 s: ws://127\.0\.0\.1"):
        await connect(
            f"ws://127.0.0.1:{unused_tcp_port}", token="mina", reconnect=QUICK, timeouts=Timeouts(open=0.3)
        )


async def test_giving_up(scripted: Scripted) -> None:
    async def first(peer: Peer) -> None:
        await peer.ready()
        await peer.vanish()

    scripted.play(first)
    async with to(scripted, reconnect=Reconnect(base=0.01, cap=0.01, attempts=3)) as session:
        scripted.statuses = [503] * 10
        with pytest.raises(SessionClosedError, match="gave up after 3 attempts"):
            await ended(session)
    assert scripted.statuses == [503] * 7


async def test_closing(scripted: Scripted) -> None:
    codes: list[int | None] = []

    async def talk(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        await peer.expect("say")
        assert (await peer.expect("playback"))["d"] == {"turn": "t", "heard_offset": 3}
        await peer.until_gone()
        codes.append(peer.close_code)

    scripted.play(talk)
    session = await to(scripted)
    bram = await session.join("bram")
    turn = bram.say("Hello", turn="t")
    turn.playback(3)
    # What was said last is sent, and the good-bye is a word.
    await session.close()
    await scripted.finished()
    assert codes == [1000]
    with pytest.raises(SessionClosedError, match="closed by this client"):
        await turn
    with pytest.raises(SessionClosedError, match="closed by this client"):
        bram.say("Still there?")
    await ended(session)
    await session.close()


async def test_whoever_stops_waiting_frees_the_place(scripted: Scripted) -> None:
    async def talk(peer: Peer) -> None:
        await peer.ready()
        await peer.joined()
        focus = await peer.expect("npc.focus")
        await peer.expect("npc.leave")
        # An answer that nobody waits for any more.
        await peer.send("npc.warm", {"npc": "bram", "tokens": 1, "ms": 1}, cid=focus["cid"])
        await peer.send("error", error("overloaded", temporary=True), cid=focus["cid"] + 1)
        await peer.until_gone()

    scripted.play(talk)
    async with to(scripted) as session:
        bram = await session.join("bram")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bram.focus()
        with pytest.raises(OverloadedError):
            await bram.leave()
        assert session.seq == 4
    await scripted.finished()


async def test_bad_words_are_refused_at_once() -> None:
    for url in ("http://localhost", "localhost:7777", "ws://"):
        with pytest.raises(ValueError, match="url must look like"):
            connect(url, token="mina")
    with pytest.raises(ValueError, match="subprotocol must be"):
        connect("ws://localhost", token="mina", subprotocol="xml")
