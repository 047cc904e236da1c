"""What is sent again, and what a new session makes of what the old one began; without any socket."""

import asyncio

import pytest

from npc_gateway_client import (
    DialogueDelta,
    DuplicateTurnError,
    TurnDone,
    TurnLostError,
    TurnStarted,
    UnknownNpcError,
)
from npc_gateway_client.session import core as core_module
from npc_gateway_client.wire.client import NpcJoin

from .scripted import JOINED, delta, done, error, started
from .talk import Talk, texts


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
    assert sent[0][0] == definition
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
