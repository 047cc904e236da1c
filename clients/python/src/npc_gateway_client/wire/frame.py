"""Frames: an ``op``, its payload, and the keys around it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from . import client, server, turn
from .client import ClientPayload
from .codec import decode, encode
from .codes import Subprotocol
from .convert import PayloadError, read, to_map
from .server import ServerPayload, Unknown

P = TypeVar("P", bound=ServerPayload | ClientPayload)

Cid = str | int
"""The client's own mark of a frame."""

SERVER: dict[str, type[ServerPayload]] = {
    cls.op: cls
    for cls in (
        server.Hello,
        server.Ready,
        server.Resumed,
        server.ResumeFailed,
        server.HeartbeatAck,
        server.Authed,
        server.NpcJoined,
        server.NpcWarm,
        server.NpcLeft,
        turn.TurnStarted,
        turn.DialogueDelta,
        turn.Emotion,
        turn.FaceKey,
        turn.ActionProposed,
        turn.Social,
        turn.Goal,
        turn.TurnDone,
        turn.TurnCancelled,
        server.EventRecorded,
        server.NpcActed,
        server.ErrorFrame,
    )
}
"""Every ``op`` that the gateway sends."""

CLIENT: dict[str, type[ClientPayload]] = {
    cls.op: cls
    for cls in (
        client.Identify,
        client.Resume,
        client.Heartbeat,
        client.Auth,
        client.NpcJoin,
        client.NpcFocus,
        client.NpcLeave,
        client.Say,
        client.Cancel,
        client.Playback,
        client.ActionResult,
        client.GameEvent,
        client.NpcAct,
    )
}
"""Every ``op`` that a client sends."""

UNNUMBERED = frozenset({"hello", "heartbeat_ack", "resumed", "resume_failed"})
"""Frames of the gateway that have no ``s``; an ``error`` before ``ready`` has none either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame(Generic[P]):
    """One message of the socket."""

    d: P
    s: int | None = None
    cid: Cid | None = None

    @property
    def op(self) -> str:
        """What the frame is."""
        return self.d.op


ServerFrame = Frame[ServerPayload]
ClientFrame = Frame[ClientPayload]


def write_frame(frame: ServerFrame | ClientFrame, subprotocol: Subprotocol) -> str | bytes:
    """The message of a frame: text for JSON, bytes for MessagePack."""
    message: dict[str, object] = {"op": frame.op}
    if frame.s is not None:
        message["s"] = frame.s
    if frame.cid is not None:
        message["cid"] = frame.cid
    message["d"] = frame.d.d if isinstance(frame.d, Unknown) else to_map(frame.d)
    return encode(message, subprotocol)


def read_server_frame(message: str | bytes, subprotocol: Subprotocol) -> ServerFrame:
    """A frame of the gateway, or :class:`PayloadError`. An ``op`` that is not known becomes ``Unknown``."""
    op, d, s, cid = _parts(message, subprotocol)
    cls = SERVER.get(op)
    payload = Unknown(op=op, d=d) if cls is None else read(cls, d)
    return Frame(d=payload, s=s, cid=cid)


def read_client_frame(message: str | bytes, subprotocol: Subprotocol) -> ClientFrame:
    """A frame of a client, or :class:`PayloadError`: for tests and for tools that record what was sent."""
    op, d, _, cid = _parts(message, subprotocol)
    cls = CLIENT.get(op)
    if cls is None:
        raise PayloadError("op is none of a client")
    return Frame(d=read(cls, d), cid=cid)


def _parts(
    message: str | bytes, subprotocol: Subprotocol
) -> tuple[str, dict[str, object], int | None, Cid | None]:
    value = decode(message, subprotocol)
    op, d, s, cid = value.get("op"), value.get("d"), value.get("s"), value.get("cid")
    if not isinstance(op, str):
        raise PayloadError("op must be a text")
    if d is None:
        d = {}
    if not isinstance(d, dict):
        raise PayloadError("d must be a map")
    if s is not None and (type(s) is not int or s < 1):
        raise PayloadError("s must be a whole number of at least 1")
    if cid is not None and not isinstance(cid, str) and type(cid) is not int:
        raise PayloadError("cid must be a text or a whole number")
    return op, d, s, cid
