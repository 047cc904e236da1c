"""A session on real sockets, with a server that plays a script: talking, beating, opening and closing."""

import asyncio

import pytest

from npc_gateway_client import (
    BadPayloadError,
    ConnectError,
    Disconnected,
    MessageTooLargeError,
    OverloadedError,
    Reconnect,
    Reconnected,
    SessionClosedError,
    Timeouts,
    connect,
)

from .player import QUICK, ended, to, until
from .scripted import Peer, Scripted, delta, done, error, started


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
        with pytest.raises(MessageTooLargeError, match=r"say has \d+ bytes; the gateway takes 300"):
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
