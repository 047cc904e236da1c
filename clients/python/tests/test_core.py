"""What a session remembers, without any socket."""

import asyncio
from typing import Any

import pytest

from npc_gateway_client import (
    DialogueDelta,
    DuplicateTurnError,
    EngineFailedError,
    EventsLostError,
    Limits,
    OverloadedError,
    ProtocolError,
    SequenceError,
    SessionClosedError,
    TooManyRequestsError,
    TurnDone,
    TurnLostError,
    TurnStarted,
    UnknownNpcError,
)
from npc_gateway_client.session import core as core_module
from npc_gateway_client.session.core import Core
from npc_gateway_client.session.turn import Turn
from npc_gateway_client.wire.client import ClientPayload, NpcFocus, NpcJoin, Playback, Say
from npc_gateway_client.wire.convert import read
from npc_gateway_client.wire.frame import SERVER, Frame, ServerFrame
from npc_gateway_client.wire.server import NpcWarm, Ready, ServerPayload

from .scripted import JOINED, delta, done, error, started


def frame(op: str, d: dict[str, Any], s: int | None = None, cid: Any = None) -> ServerFrame:
    payload: ServerPayload = read(SERVER[op], d)
    return Frame(d=payload, s=s, cid=cid)


class Talk:
    """A core and the numbers of its frames."""

    def __init__(self, **limits: int) -> None:
        self.core = Core(Limits(**limits))
        self.session()

    def session(self) -> None:
        ready = {
            "session": f"s{self.core.sessions + 1}",
            "resume_token": "r",
            "epoch": "e",
            "player": "mina",
            "scopes": [],
            "resume_window_ms": 1,
            "limits": {},
        }
        self.core.new_session(read(Ready, ready), 1)
        self.core.link_opened()

    def get(self, op: str, d: dict[str, Any], cid: Any = None) -> None:
        self.core.take(frame(op, d, self.core.seq + 1, cid))

    def sent(self) -> list[tuple[ClientPayload, int | None]]:
        """All that is to be sent now."""
        sent = []
        while (item := self.core.next()) is not None:
            sent.append(item)
        return sent

    def say(self, turn: str = "t") -> Turn:
        return self.core.say(Say(npc="bram", turn=turn, text="Hello"))

    def said(self, turn: str = "t") -> tuple[Turn, int]:
        """A turn that was sent, and its mark."""
        said = self.say(turn)
        ((payload, cid),) = self.sent()
        assert isinstance(payload, Say)
        assert cid is not None
        return said, cid


async def texts(turn: Turn) -> list[str]:
    return [part.text async for part in turn]


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


async def test_what_is_unanswered_is_sent_again_on_the_next_socket() -> None:
    talk = Talk()
    first, cid = talk.said("t1")
    second, other = talk.said("t2")
    talk.get("turn.started", started("t1"), cid)
    talk.core.link_opened()
    assert [mark for _, mark in talk.sent()] == [other]
    # The gateway had it already: its answer comes.
    talk.get("error", error("duplicate_turn", turn="t2"), other)
    assert not second.ended
    talk.get("turn.started", started("t2"), other)
    talk.get("turn.done", done("t2", ""))
    assert (await second).reason == "stop"
    assert not first.ended


async def test_a_duplicate_is_an_error_where_nothing_was_sent_twice() -> None:
    talk = Talk()
    turn, cid = talk.said()
    talk.get("error", error("duplicate_turn", turn="t"), cid)
    with pytest.raises(DuplicateTurnError):
        await turn


async def _met(talk: Talk, definition: NpcJoin) -> None:
    join = asyncio.create_task(talk.core.join(definition))
    await asyncio.sleep(0)
    ((_, mark),) = talk.sent()
    talk.get("npc.joined", JOINED, mark)
    await join


async def test_a_new_session_meets_the_npcs_again_and_repeats_what_has_no_end() -> None:
    talk = Talk()
    definition = NpcJoin(npc="bram", archetype="vampire", seed=7)
    await _met(talk, definition)
    begun, cid = talk.said("begun")
    waiting, later = talk.said("waiting")
    talk.get("turn.started", started("begun"), cid)
    talk.get("dialogue.delta", delta("begun", "Good ", 0))
    talk.session()
    sent = talk.sent()
    assert [payload for payload, _ in sent][0] == definition
    assert [mark for _, mark in sent][1:] == [cid, later]
    # What was stored comes whole, and what is missing comes as one more delta.
    talk.get("npc.joined", JOINED, sent[0][1])
    talk.get("turn.done", done("begun", "Good evening"), cid)
    talk.get("turn.started", started("waiting"), later)
    talk.get("turn.done", done("waiting", ""))
    assert await texts(begun) == ["Good ", "evening"]
    assert (await begun).text == begun.text == "Good evening"
    assert (await waiting).text == ""
    assert talk.core.idle


async def test_a_turn_that_begins_anew_behind_words_is_lost() -> None:
    talk = Talk()
    turn, cid = talk.said()
    talk.get("turn.started", started("t"), cid)
    talk.get("dialogue.delta", delta("t", "Good ", 0))
    talk.session()
    assert [mark for _, mark in talk.sent()] == [cid]
    talk.get("turn.started", started("t"), cid)
    with pytest.raises(TurnLostError) as caught:
        await turn
    assert caught.value.text == "Good "
    # And the gateway need not go on.
    ((payload, _),) = talk.sent()
    assert payload.op == "cancel"


async def test_a_turn_that_begins_anew_before_any_word_goes_on() -> None:
    talk = Talk()
    turn, cid = talk.said()
    talk.get("turn.started", started("t"), cid)
    talk.session()
    talk.get("turn.started", started("t"), cid)
    talk.get("dialogue.delta", delta("t", "Good", 0))
    talk.get("turn.done", done("t", "Good"))
    assert [type(event) async for event in turn.events()] == [TurnStarted, DialogueDelta, TurnDone]


async def test_a_turn_that_runs_out_of_sight_is_asked_for_until_it_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core_module, "POLL_BASE", 0.001)
    talk = Talk()
    turn, cid = talk.said()
    talk.get("turn.started", started("t"), cid)
    talk.get("dialogue.delta", delta("t", "Go", 0))
    talk.session()
    for _ in range(3):
        while not (sent := talk.sent()):
            await talk.core.wake.wait()
            talk.core.wake.clear()
        assert [mark for _, mark in sent] == [cid]
        talk.get("error", error("duplicate_turn", turn="t"), cid)
    # Words of it that come all the same are taken where they join.
    talk.get("dialogue.delta", delta("t", "od", 2))
    talk.get("dialogue.delta", delta("t", "lost", 99))
    talk.get("turn.done", done("t", "Good night"), cid)
    assert await texts(turn) == ["Go", "od", " night"]


async def test_an_npc_that_is_gone_is_forgotten() -> None:
    talk = Talk()
    await _met(talk, NpcJoin(npc="bram"))
    turn, cid = talk.said()
    talk.session()
    sent = talk.sent()
    talk.get("error", error("unknown_archetype", npc="bram"), sent[0][1])
    talk.get("error", error("unknown_npc", npc="bram", turn="t"), cid)
    with pytest.raises(UnknownNpcError):
        await turn
    await asyncio.sleep(0)
    assert talk.core.npcs == {}


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
    seen = []
    with pytest.raises(EventsLostError, match=r"Limits\.turn_events"):
        seen.extend([event async for event in turn.events()])
    # The end is known all the same.
    assert (await turn).text == turn.text == "xxxx"
    with pytest.raises(EventsLostError, match="more than 4 events"):
        while True:
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
