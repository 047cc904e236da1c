"""What a session remembers, without any socket."""

import asyncio

import pytest

from npc_gateway_client import (
    DialogueDelta,
    EngineFailedError,
    EventsLostError,
    OverloadedError,
    ProtocolError,
    SequenceError,
    SessionClosedError,
    TooManyRequestsError,
    TurnDone,
    TurnStarted,
    UnknownNpcError,
)
from npc_gateway_client.wire.client import NpcFocus, Playback
from npc_gateway_client.wire.server import NpcWarm

from .scripted import delta, done, error, started
from .talk import Talk, frame, texts


async def test_s_has_no_holes() -> None:
    for wrong in (1, 3, 17):
        talk = Talk()
        with pytest.raises(SequenceError, match=f"s {wrong} behind 1"):
            talk.core.take(frame("npc.left", {"npc": "bram"}, wrong))
        assert talk.core.seq == 1
    talk = Talk()
    with pytest.raises(SequenceError, match=r"npc\.left has no s"):
        talk.core.take(frame("npc.left", {"npc": "bram"}))
    talk.core.take(frame("heartbeat_ack", {"seq": 1}))
    assert talk.core.seq == 1
    with pytest.raises(SequenceError, match="ready must have s 1, not 2"):
        talk.core.new_session(talk.core.ready or pytest.fail("no ready"), 2)


async def test_a_turn_from_its_beginning_to_its_end() -> None:
    talk = Talk()
    turn, cid = talk.said()
    reader = asyncio.create_task(texts(turn))
    talk.get("turn.started", started("t"), cid)
    talk.get("dialogue.delta", delta("t", "Good ", 0))
    # Four code points, eleven bytes.
    talk.get("dialogue.delta", delta("t", "🦇é ✓", 5))
    assert turn.text == "Good 🦇é ✓"
    talk.get("dialogue.delta", delta("t", "!", 9))
    talk.get("turn.done", done("t", "Good 🦇é ✓!"))
    assert await reader == ["Good ", "🦇é ✓", "!"]
    assert (await turn).text == turn.text
    assert (await turn.started()).npc == "bram"
    # Whoever comes later sees all of it again.
    kinds = [type(event) async for event in turn.events()]
    assert kinds == [TurnStarted, DialogueDelta, DialogueDelta, DialogueDelta, TurnDone]
    assert talk.core.idle


async def test_turns_of_others_are_only_told_to_listeners() -> None:
    talk = Talk()
    turn, cid = talk.said()
    events = talk.core.subscribe()
    talk.get("turn.started", started("t", player="lucy"))
    talk.get("dialogue.delta", delta("t", "Hm", 0, player="lucy"))
    assert turn.text == ""
    talk.get("turn.started", started("t"), cid)
    seen = [await anext(events) for _ in range(3)]
    assert [getattr(event, "player", None) for event in seen] == ["lucy", "lucy", "mina"]


async def test_deltas_must_join() -> None:
    for offset in (3, 5):
        talk = Talk()
        turn, cid = talk.said()
        talk.get("turn.started", started("t"), cid)
        talk.get("dialogue.delta", delta("t", "Good", 0))
        talk.get("dialogue.delta", delta("t", " evening", offset))
        with pytest.raises(ProtocolError, match=f"starts at {offset}, and 4 characters"):
            await turn
        with pytest.raises(ProtocolError):
            await texts(turn)
        # The session goes on.
        assert (await _again(talk)).text == "ok"


async def _again(talk: Talk) -> TurnDone:
    turn, cid = talk.said("again")
    talk.get("turn.started", started("again"), cid)
    talk.get("dialogue.delta", delta("again", "ok", 0))
    talk.get("turn.done", done("again", "ok"))
    return await turn


async def test_refusals_are_typed_and_reach_who_asked() -> None:
    talk = Talk()
    turn, cid = talk.said()
    focus = asyncio.create_task(talk.core.ask(NpcFocus(npc="nobody"), NpcWarm))
    await asyncio.sleep(0)
    ((_, other),) = talk.sent()
    talk.get("error", error("unknown_npc", npc="nobody"), other)
    with pytest.raises(UnknownNpcError, match="about unknown_npc") as caught:
        await focus
    assert caught.value.npc == "nobody"
    talk.get("error", error("overloaded", temporary=True, retry_after_ms=70, turn="t"), cid)
    with pytest.raises(OverloadedError) as overloaded:
        await turn
    assert (overloaded.value.retry_after_ms, overloaded.value.done) == (70, None)
    with pytest.raises(OverloadedError):
        await texts(turn)
    with pytest.raises(OverloadedError):
        await turn.started()
    assert talk.core.idle


async def test_a_turn_may_be_refused_by_its_id_alone() -> None:
    talk = Talk()
    turn, _ = talk.said()
    talk.get("error", error("overloaded", turn="t"))
    with pytest.raises(OverloadedError):
        await turn
    assert talk.core.idle


async def test_a_turn_that_fails_on_the_way_keeps_its_end() -> None:
    talk = Talk()
    turn, cid = talk.said()
    talk.get("turn.started", started("t"), cid)
    talk.get("dialogue.delta", delta("t", "Go", 0))
    talk.get("error", error("engine_failed", turn="t"))
    assert not turn.ended
    talk.get("turn.done", done("t", "Go", "error"))
    with pytest.raises(EngineFailedError, match="about engine_failed") as caught:
        await turn
    assert caught.value.done is not None
    assert caught.value.done.text == "Go"
    # The same without a word before.
    other, cid = talk.said("u")
    talk.get("turn.started", started("u"), cid)
    talk.get("turn.done", done("u", "", "error"))
    with pytest.raises(EngineFailedError, match="the turn failed"):
        await other


async def test_an_error_about_something_else_does_not_end_a_turn() -> None:
    talk = Talk()
    turn, cid = talk.said()
    talk.get("turn.started", started("t"), cid)
    cancel = asyncio.create_task(turn.cancel(0))
    await asyncio.sleep(0)
    ((_, mark),) = talk.sent()
    talk.get("error", error("unknown_turn", turn="t"), mark)
    with pytest.raises(Exception, match="unknown_turn"):
        await cancel
    talk.get("error", error("bad_payload", turn="t"), 9999)
    talk.get("dialogue.delta", delta("t", "Fine", 0))
    talk.get("turn.done", done("t", "Fine"))
    assert (await turn).text == "Fine"


async def test_cancelling() -> None:
    talk = Talk()
    turn, cid = talk.said()
    talk.get("turn.started", started("t"), cid)
    talk.get("dialogue.delta", delta("t", "Good evening", 0))
    cancel = asyncio.create_task(turn.cancel(4))
    await asyncio.sleep(0)
    ((_, mark),) = talk.sent()
    cancelled = {
        "turn": "t",
        "player": "mina",
        "valid_through": {"text_offset": 4, "t_ms": 1},
        "retracted": ["a1"],
    }
    talk.get("turn.cancelled", cancelled, mark)
    talk.get("turn.done", done("t", "Good", "cancelled"))
    assert (await cancel).valid_through.text_offset == 4
    assert (await turn).reason == "cancelled"
    assert (await turn).text == "Good"


async def test_playback_only_grows_and_is_told_once() -> None:
    talk = Talk()
    turn, cid = talk.said()
    talk.get("turn.started", started("t"), cid)
    for offset in (3, 9, 5):
        turn.playback(offset)
    assert talk.sent() == [(Playback(turn="t", heard_offset=9), None)]
    turn.playback(9)
    assert talk.sent() == []
    talk.get("turn.done", done("t", "Good evening"))
    turn.playback(12)
    # What a lost socket swallowed is told again.
    talk.core.link_opened()
    assert talk.sent() == [(Playback(turn="t", heard_offset=12), None)]
    with pytest.raises(ValueError, match="at least 0"):
        turn.playback(-1)


async def test_everything_is_bounded() -> None:
    talk = Talk(requests=3, turns=2, turn_events=3, session_events=4)
    slow, quick = talk.core.subscribe(), talk.core.subscribe()
    turn, cid = talk.said("t1")
    talk.said("t2")
    with pytest.raises(TooManyRequestsError, match=r"2 turns run already \(Limits\.turns\)"):
        talk.say("t3")
    focus = asyncio.create_task(talk.core.ask(NpcFocus(npc="bram"), NpcWarm))
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequestsError, match=r"3 frames wait already \(Limits\.requests\)"):
        await talk.core.ask(NpcFocus(npc="bram"), NpcWarm)
    talk.get("turn.started", started("t1"), cid)
    for index in range(4):
        talk.get("dialogue.delta", delta("t1", "x", index))
        assert getattr(await anext(quick), "turn", None) == "t1"
    talk.get("turn.done", done("t1", "xxxx"))
    with pytest.raises(EventsLostError, match=r"Limits\.turn_events"):
        await texts(turn)
    # The end is known all the same.
    assert (await turn).text == turn.text == "xxxx"
    for _ in range(4):
        await anext(slow)
    with pytest.raises(EventsLostError, match="more than 4 events"):
        await anext(slow)
    focus.cancel()
    await asyncio.gather(focus, return_exceptions=True)
    await asyncio.sleep(0)
    assert [payload.op for payload, _ in talk.sent()] == []


async def test_a_turn_id_is_used_once() -> None:
    talk = Talk()
    talk.said("t")
    with pytest.raises(ValueError, match="'t' was said already"):
        talk.say("t")


async def test_the_end_of_a_session_ends_all_that_waits() -> None:
    talk = Talk()
    turn, cid = talk.said()
    events = talk.core.subscribe()
    talk.get("turn.started", started("t"), cid)
    talk.get("dialogue.delta", delta("t", "Go", 0))
    focus = asyncio.create_task(talk.core.ask(NpcFocus(npc="bram"), NpcWarm))
    await asyncio.sleep(0)
    end = SessionClosedError("over", code=4505, reason="session_replaced")
    talk.core.end(end)
    talk.core.end(SessionClosedError("twice"))
    for waiting in (turn.done(), focus, texts(turn), talk.core.ask(NpcFocus(npc="x"), NpcWarm)):
        with pytest.raises(SessionClosedError, match="over") as caught:
            await waiting
        assert caught.value.code == 4505
    assert isinstance(await anext(events), TurnStarted)
    assert isinstance(await anext(events), DialogueDelta)
    with pytest.raises(SessionClosedError, match="over"):
        await anext(events)
    with pytest.raises(SessionClosedError, match="over"):
        talk.say("u")
    with pytest.raises(SessionClosedError, match="over"):
        await anext(talk.core.subscribe())


async def test_a_subscription_that_is_closed_ends() -> None:
    talk = Talk()
    with talk.core.subscribe() as events:
        talk.get("npc.left", {"npc": "bram"})
    assert [event async for event in events] == []
    talk.get("npc.left", {"npc": "bram"})
    assert [event async for event in events] == []
