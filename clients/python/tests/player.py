"""A player who is quick to come back."""

import asyncio
from typing import Any

from npc_gateway_client import Reconnect, Session, SessionEvent, connect

from .scripted import PATIENCE, Scripted

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
