"""A small terminal chat: one line of yours, one answer. `/quit` or the end of the input leaves.

python examples/chat.py ws://127.0.0.1:7777 --player mina --npc carmilla --archetype vampire
"""

import argparse
import asyncio
import sys

from npc_gateway_client import (
    Disconnected,
    GatewayError,
    Npc,
    Reconnected,
    RequestError,
    Session,
    connect,
)


async def tell(session: Session) -> None:
    """Says what happens to the connection, while the conversation goes on."""
    with session.events() as events:
        async for event in events:
            if isinstance(event, Disconnected):
                print(f"\n[{event.reason}; next attempt in {event.retry_in:.1f} s]", file=sys.stderr)
            elif isinstance(event, Reconnected):
                print("[back]" if event.resumed else "[back, in a new session]", file=sys.stderr)


async def answer(npc: Npc, line: str) -> None:
    """Prints the words as they come."""
    turn = npc.say(line)
    print(f"{npc.info.name}: ", end="")
    try:
        async for delta in turn:
            print(delta, end="", flush=True)
        done = await turn
        print("" if done.reason == "stop" else f" [{done.reason}]")
    except RequestError as error:
        print(f"[{error}]")


async def chat(words: argparse.Namespace) -> None:
    """Talks until the input ends."""
    async with connect(words.url, token=words.player) as session:
        npc = await session.join(words.npc, archetype=words.archetype)
        told = asyncio.create_task(tell(session))
        try:
            while True:
                print(f"{session.player}: ", end="", flush=True)
                line = await asyncio.to_thread(sys.stdin.readline)
                if not line or line.strip() == "/quit":
                    break
                if line.strip():
                    await answer(npc, line.strip())
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)


def main() -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(description="Talk to an NPC of npc-gateway.")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:7777")
    parser.add_argument("--player", default="player")
    parser.add_argument("--npc", default="carmilla")
    parser.add_argument("--archetype", default="vampire")
    try:
        asyncio.run(chat(parser.parse_args()))
    except GatewayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
