"""A server that plays a script over real sockets: close codes, holes and refusals at chosen moments."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgpack
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

SUBPROTOCOLS = [Subprotocol("npc.v1.msgpack"), Subprotocol("npc.v1.json")]

PATIENCE = 30.0
"""A guard against a test that hangs."""

Script = Callable[["Peer"], Awaitable[None]]

JOINED = {
    "npc": {"id": "bram", "name": "Bram", "archetype": "vampire", "seed": 1},
    "chain": {"archetype": "vampire", "generic": True, "tasks": {}},
}


def done(turn: str, text: str, reason: str = "stop", player: str = "mina") -> dict[str, Any]:
    """The payload of a `turn.done`."""
    return {
        "turn": turn,
        "player": player,
        "npc": "bram",
        "reason": reason,
        "text": text,
        "fallback": False,
        "usage": {"prompt_tokens": 1, "cached_tokens": 0, "generated_tokens": 1},
        "timing": {"queue_ms": 0, "ttft_ms": 1, "total_ms": 2},
    }


def started(turn: str, player: str = "mina") -> dict[str, Any]:
    """The payload of a `turn.started`."""
    return {
        "turn": turn,
        "npc": "bram",
        "player": player,
        "text": "Hello",
        "generic": True,
        "adapters": [],
        "prompt_tokens": 1,
        "cached_tokens": 0,
    }


def delta(turn: str, text: str, offset: int, player: str = "mina") -> dict[str, Any]:
    """The payload of a `dialogue.delta`."""
    return {"turn": turn, "player": player, "text": text, "offset": offset, "t_ms": offset, "tokens": 1}


def error(code: str, **more: Any) -> dict[str, Any]:
    """The payload of an `error`."""
    return {"code": code, "message": f"about {code}", "temporary": False, **more}


class Peer:
    """One connection, from the server's side."""

    def __init__(self, socket: ServerConnection, server: "Scripted") -> None:
        self._socket = socket
        self.server = server
        self.binary = socket.subprotocol == SUBPROTOCOLS[0]
        self.s = 0

    async def send(
        self, op: str, d: dict[str, Any] | None = None, *, s: bool | int = True, cid: Any = None
    ) -> None:
        """Sends a frame; `s` is counted, given, or left out."""
        frame: dict[str, Any] = {"op": op, "d": d or {}}
        if s is True:
            self.s += 1
            frame["s"] = self.s
        elif s is not False:
            self.s = frame["s"] = s
        if cid is not None:
            frame["cid"] = cid
        await self.raw(frame)

    async def raw(self, value: Any) -> None:
        """Sends anything."""
        await self._socket.send(msgpack.packb(value) if self.binary else json.dumps(value))

    async def message(self, message: str | bytes) -> None:
        """Sends a message as it is."""
        await self._socket.send(message)

    async def receive(self) -> dict[str, Any]:
        """The next frame of the client."""
        async with asyncio.timeout(PATIENCE):
            message = await self._socket.recv()
        frame: dict[str, Any] = json.loads(message) if isinstance(message, str) else msgpack.unpackb(message)
        self.server.frames.append(frame)
        return frame

    async def expect(self, op: str, *, skip: Sequence[str] = ("heartbeat",)) -> dict[str, Any]:
        """The next frame, which must be this one; heartbeats are passed over."""
        while True:
            frame = await self.receive()
            if frame["op"] not in skip or frame["op"] == op:
                assert frame["op"] == op, f"{frame} instead of {op}"
                return frame

    async def hello(self, **more: Any) -> None:
        """The greeting."""
        d = {
            "protocol": 1,
            "server": "scripted/1",
            "engine": "scripted",
            "heartbeat_ms": 60_000,
            "identify_timeout_ms": 5000,
            "max_frame_bytes": 65_536,
            **more,
        }
        await self.send("hello", d, s=False)

    async def ready(
        self, *, session: str = "s1", epoch: str = "e1", token: str = "r1", **hello: Any
    ) -> dict[str, Any]:
        """`hello`, then `identify`, which is returned, then `ready`."""
        await self.hello(**hello)
        identify = await self.expect("identify")
        await self.accept(session=session, epoch=epoch, token=token, cid=identify.get("cid"))
        return identify

    async def accept(
        self, *, session: str = "s1", epoch: str = "e1", token: str = "r1", cid: Any = None
    ) -> None:
        """`ready`."""
        d = {
            "session": session,
            "resume_token": token,
            "epoch": epoch,
            "player": "mina",
            "scopes": ["play"],
            "resume_window_ms": 60_000,
            "limits": {"max_npcs": 64},
        }
        await self.send("ready", d, s=1, cid=cid)

    async def resume(self, **hello: Any) -> dict[str, Any]:
        """`hello`, then `resume`, which is returned. `s` goes on behind its `seq`."""
        await self.hello(**hello)
        frame = await self.expect("resume")
        self.s = frame["d"]["seq"]
        return frame

    async def resumed(self, replayed: int = 0, token: str = "r2") -> None:
        """`resumed`."""
        await self.send("resumed", {"seq": self.s, "replayed": replayed, "resume_token": token}, s=False)

    async def joined(self) -> dict[str, Any]:
        """Takes `npc.join`, which is returned, and answers."""
        join = await self.expect("npc.join")
        await self.send("npc.joined", JOINED, cid=join["cid"])
        return join

    async def close(self, code: int, reason: str = "") -> None:
        """Closes the socket."""
        await self._socket.close(code, reason)

    async def vanish(self) -> None:
        """Drops the connection without a word."""
        self._socket.transport.abort()

    @property
    def close_code(self) -> int | None:
        """What the client closed with."""
        return self._socket.close_code

    async def until_gone(self) -> None:
        """Reads until the client is gone."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed:
            pass


class Scripted:
    """Plays one script for each connection; a further connection is refused with HTTP 404."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.statuses: list[int] = []
        """HTTP statuses to refuse the next upgrades with."""
        self.frames: list[dict[str, Any]] = []
        """All that clients have sent."""
        self.connections = 0
        self.faults: list[BaseException] = []
        self._server: Server | None = None
        self.ended = asyncio.Event()
        """Set when the last script has ended."""

    async def start(self) -> None:
        """Listens on a free port."""
        self._server = await serve(
            self._handle, "127.0.0.1", 0, subprotocols=SUBPROTOCOLS, process_request=self._request
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"ws://127.0.0.1:{self.port}"

    def play(self, *scripts: Script) -> None:
        """These come next, one for each connection."""
        self.scripts.extend(scripts)

    def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        if self.statuses:
            return socket.respond(self.statuses.pop(0), "refused\n")
        if not self.scripts:
            return socket.respond(404, "the script has ended\n")
        assert request.path == "/ws"
        return None

    async def _handle(self, socket: ServerConnection) -> None:
        script = self.scripts.pop(0)
        self.connections += 1
        try:
            await script(Peer(socket, self))
        except ConnectionClosed as closed:
            if not self.scripts and not self.ended.is_set():
                self.faults.append(closed)
        except BaseException as fault:
            self.faults.append(fault)
            raise
        finally:
            if not self.scripts:
                self.ended.set()

    async def finished(self) -> None:
        """Waits until the last script has ended, and raises what went wrong in any."""
        async with asyncio.timeout(PATIENCE):
            await self.ended.wait()
        if self.faults:
            raise self.faults[0]

    async def stop(self) -> None:
        """Closes everything."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
