"""A session's memory without any socket, and the frames that it gets."""

from typing import Any

from npc_gateway_client import Limits
from npc_gateway_client.session.core import Core
from npc_gateway_client.session.turn import Turn
from npc_gateway_client.wire.client import ClientPayload, Say
from npc_gateway_client.wire.convert import read
from npc_gateway_client.wire.frame import SERVER, Frame, ServerFrame
from npc_gateway_client.wire.server import Ready, ServerPayload


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
