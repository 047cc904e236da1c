"""The project's golden bytes, read and written by this client."""

from pathlib import Path

import pytest

from npc_gateway_client import Subprotocol
from npc_gateway_client.wire.frame import (
    CLIENT,
    SERVER,
    ClientFrame,
    ServerFrame,
    read_client_frame,
    read_server_frame,
    write_frame,
)
from npc_gateway_client.wire.server import Unknown

from .gateway import repository

SIDES = ("server", "client")

SPARSER = {
    # Keys that the protocol does not have: read and left out.
    "client/identify~protocol",
    "client/say~unknown_keys",
    # Integers where floats are meant: accepted, and written as floats.
    "client/say~integers",
}
WIDER = {
    # The gateway writes floats of 64 bits here, this client writes 32.
    "server/error",
    "server/npc.joined",
}


def names() -> list[str]:
    folder = repository() / "schemas" / "golden"
    return sorted(f"{side}/{file.stem}" for side in SIDES for file in (folder / side).glob("*.json"))


def both(golden: Path, name: str) -> tuple[str, bytes]:
    # `with_suffix` would take a part of the op for one.
    text = golden / f"{name}.json"
    return text.read_text(encoding="utf-8"), (golden / f"{name}.msgpack").read_bytes()


def read(name: str, message: str | bytes) -> ServerFrame | ClientFrame:
    subprotocol = Subprotocol.JSON if isinstance(message, str) else Subprotocol.MSGPACK
    if name.startswith("server/"):
        return read_server_frame(message, subprotocol)
    return read_client_frame(message, subprotocol)


@pytest.mark.parametrize("name", names())
def test_golden_frames_are_read_and_written_back(golden: Path, name: str) -> None:
    text, blob = both(golden, name)
    from_text, from_blob = read(name, text), read(name, blob)
    op = name.partition("/")[2].partition("~")[0]
    assert from_text.op == from_blob.op == op
    assert not isinstance(from_text.d, Unknown)
    assert (from_text.s, from_text.cid) == (from_blob.s, from_blob.cid)
    # 0.1 has another value in 32 bits; both become the same bytes there.
    assert write_frame(from_text, Subprotocol.MSGPACK) == write_frame(from_blob, Subprotocol.MSGPACK)
    if name in SPARSER:
        assert write_frame(from_text, Subprotocol.JSON) != text
        return
    assert write_frame(from_text, Subprotocol.JSON) == text
    if name not in WIDER:
        assert write_frame(from_blob, Subprotocol.MSGPACK) == blob


def test_every_frame_has_golden_bytes() -> None:
    ops = {tuple(name.split("~")[0].split("/")) for name in names()}
    assert ops == {("server", op) for op in SERVER} | {("client", op) for op in CLIENT}


def test_the_exceptions_exist() -> None:
    assert {*SPARSER, *WIDER} <= set(names())
