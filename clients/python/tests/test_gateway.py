"""The real gateway with the real model: a conversation, and the network lost in the middle of it."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from npc_gateway_client import (
    BadPayloadError,
    Disconnected,
    Generation,
    Reconnect,
    Reconnected,
    SessionReplacedError,
    Timeouts,
    TurnDone,
    TurnStarted,
    UnknownArchetypeError,
    UnknownNpcError,
    connect,
)
from npc_gateway_client.link.socket import Link
from npc_gateway_client.wire.frame import ServerFrame

from .gateway import Gateway, Network

QUICK = Reconnect(base=0.05, cap=0.5)
PATIENT = Timeouts(open=120, handshake=60)
GREEDY = Generation(greedy=True, max_tokens=48)

pytestmark = pytest.mark.parametrize("subprotocol", ["msgpack", "json"])


@pytest.fixture
async def network(gateway: Gateway) -> AsyncIterator[Network]:
    async with Network(gateway.port) as network:
        yield network


E = TypeVar("E")


async def until(events: AsyncIterator[object], kind: type[E]) -> E:
    """The next event of a kind."""
    async with asyncio.timeout(120):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("no such event")


def numbers_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every `s` that comes over any socket, in order, before the client looks at it."""
    seen: list[int] = []
    receive = Link.receive

    async def watched(link: Link, limit: float) -> ServerFrame:
        frame = await receive(link, limit)
        if frame.s is not None:
            seen.append(frame.s)
        return frame

    monkeypatch.setattr(Link, "receive", watched)
    return seen


def to(url: str, player: str, subprotocol: str) -> connect:
    return connect(
        url,
        token=player,
        client=("npc-gateway-client tests", "1"),
        subprotocol=subprotocol,
        reconnect=QUICK,
        timeouts=PATIENT,
    )


async def test_a_conversation(gateway: Gateway, subprotocol: str) -> None:
    player = f"mina-{subprotocol}"
    async with to(gateway.url, player, subprotocol) as session:
        assert session.player == player
        assert session.hello.engine == "model"
        bram = await session.join(f"bram-{subprotocol}", archetype="vampire", name="Bram")
        assert (bram.info.name, bram.info.archetype) == ("Bram", "vampire")
        assert (await bram.focus()).tokens > 0
        for line in ("Good evening. Who are you?", "What do you drink?"):
            turn = bram.say(line, generation=GREEDY)
            said = "".join([part.text async for part in turn])
            done = await turn
            assert done.reason in ("stop", "length")
            assert said == turn.text == done.text != ""
            began = await turn.started()
            assert (began.text, began.player, began.npc) == (line, player, bram.id)
            events = [event async for event in turn.events()]
            assert isinstance(events[0], TurnStarted)
            assert events[-1] == done
        await bram.leave()


async def test_refusals(gateway: Gateway, subprotocol: str) -> None:
    async with to(gateway.url, "renfield", subprotocol) as session:
        with pytest.raises(UnknownArchetypeError):
            await session.join("nobody", archetype="accountant")
        with pytest.raises(BadPayloadError) as bad:
            await session.join("no spaces", archetype="vampire")
        assert bad.value.field == "npc"
        npc = await session.join(f"left-{subprotocol}", archetype="ghoul")
        with pytest.raises(BadPayloadError) as hot:
            await npc.say("Hello", generation=Generation(temperature=9.0))
        assert hot.value.field == "generation.temperature"
        acted = await npc.act(["emotional_response"], "Night falls.", act="night")
        assert acted.results["emotional_response"].choice in acted.results["emotional_response"].probs
        assert await npc.act(["emotional_response"], "Night falls.", act="night") == acted
        first = await npc.event("gift", "A bone", event="bone")
        assert first.event == "bone"
        assert len(first.interaction) == 36
        assert await npc.event("gift", "A bone", event="bone") == first
        await npc.leave()
        with pytest.raises(UnknownNpcError):
            await npc.say("Hello")


async def test_interrupting(gateway: Gateway, subprotocol: str) -> None:
    async with to(gateway.url, "lucy", subprotocol) as session:
        npc = await session.join(f"cut-{subprotocol}", archetype="lich")
        turn = npc.say("Tell me everything you know.", generation=Generation(max_tokens=200))
        async for part in turn:
            turn.playback(len(part.text))
            break
        cancelled = await turn.cancel()
        done = await turn
        # It may have ended by itself a moment before.
        assert done.reason in ("cancelled", "stop", "length")
        if done.reason == "cancelled":
            assert len(done.text) == cancelled.valid_through.text_offset
            assert turn.text.startswith(done.text)


async def test_a_network_that_is_cut_in_the_middle_of_a_frame(
    network: Network, subprotocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = numbers_seen(monkeypatch)
    chance = random.Random(7)
    async with to(network.url, f"jonathan-{subprotocol}", subprotocol) as session:
        events = session.events()
        npc = await session.join(f"tunnel-{subprotocol}", archetype="vampire")
        for line in range(4):
            before, cuts = session.ready.session, network.cuts
            # Within the first frames of the answer, wherever in one that is.
            network.cut_after(chance.randrange(250, 700))
            turn = npc.say(f"Line {line}: who sleeps below?", generation=GREEDY)
            said = "".join([part.text async for part in turn])
            done = await turn
            assert said == turn.text == done.text != ""
            assert network.cuts == cuts + 1, "the answer was too short to be cut"
            assert (await until(events, Disconnected)).code is None
            back = await until(events, Reconnected)
            assert back.resumed
            assert session.ready.session == before
        last = session.seq
    # Every number once, from the first to the last.
    assert seen == list(range(1, last + 1))


async def test_a_line_said_while_there_is_no_network(network: Network, subprotocol: str) -> None:
    async with to(network.url, f"arthur-{subprotocol}", subprotocol) as session:
        events = session.events()
        npc = await session.join(f"away-{subprotocol}", archetype="werewolf")
        network.down = True
        network.cut()
        await until(events, Disconnected)
        assert not session.connected
        turn = npc.say("Are you there?", generation=GREEDY)
        await until(events, Disconnected)
        network.down = False
        assert (await turn).text == turn.text != ""


async def test_an_answer_that_went_on_without_the_player(network: Network, subprotocol: str) -> None:
    async with to(network.url, f"quincey-{subprotocol}", subprotocol) as session:
        npc = await session.join(f"patient-{subprotocol}", archetype="zombie")
        turn = npc.say("Count the graves.", generation=GREEDY)
        await turn.started()
        network.down = True
        network.cut()
        # Long enough for some of it, however fast the machine is.
        await asyncio.sleep(1)
        network.down = False
        assert "".join([part.text async for part in turn]) == (await turn).text != ""


async def test_a_session_that_another_socket_takes(gateway: Gateway, subprotocol: str) -> None:
    async with to(gateway.url, f"seward-{subprotocol}", subprotocol) as first:
        second = to(gateway.url, f"seward-{subprotocol}", subprotocol)
        async with second as thief:
            # With the secret of the first, which only a copy of the program would know.
            thief._core.ticket, thief._core.seq = first._core.ticket, first._core.seq
            link = thief._runner.link
            assert link is not None
            link.abort()
            with pytest.raises(SessionReplacedError):
                await asyncio.wait_for(first.wait_closed(), 60)


async def test_a_gateway_that_starts_anew(subprotocol: str) -> None:
    first = await Gateway.start()
    second: Gateway | None = None
    try:
        async with Network(first.port) as network, to(network.url, "harker", subprotocol) as session:
            events = session.events()
            npc = await session.join("castle", archetype="vampire", seed=7)
            done = await npc.say("Good evening", generation=GREEDY)
            assert isinstance(done, TurnDone)
            network.down = True
            await first.stop()
            second = await Gateway.start()
            network.target, network.down = second.port, False
            back = await until(events, Reconnected)
            assert not back.resumed
            # The NPC was made anew, from the same seed.
            assert (await npc.say("Good evening", generation=GREEDY)).text == done.text
    finally:
        await first.stop()
        if second is not None:
            await second.stop()
