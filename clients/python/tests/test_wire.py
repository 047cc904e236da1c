"""What is no frame is refused with a word on why; what is merely new is let through."""

import json
from typing import Any

import msgpack
import pytest

from npc_gateway_client import (
    DialogueDelta,
    Emotion,
    ErrorFrame,
    FaceKey,
    PayloadError,
    Subprotocol,
    TurnDone,
    Unknown,
)
from npc_gateway_client.wire.codec import encode
from npc_gateway_client.wire.frame import read_client_frame, read_server_frame

from .scripted import done

FORMS = [Subprotocol.JSON, Subprotocol.MSGPACK]


def written(value: Any, subprotocol: Subprotocol) -> str | bytes:
    if subprotocol is Subprotocol.JSON:
        return json.dumps(value)
    blob = msgpack.packb(value)
    assert isinstance(blob, bytes)
    return blob


def refusal(value: Any, subprotocol: Subprotocol) -> str:
    with pytest.raises(PayloadError) as caught:
        read_server_frame(written(value, subprotocol), subprotocol)
    return str(caught.value)


DELTA = {"turn": "t", "player": "mina", "text": "Good", "offset": 0, "t_ms": 0, "tokens": 1}


@pytest.mark.parametrize("subprotocol", FORMS)
@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ([], "the message is no map"),
        ({}, "op must be a text"),
        ({"op": 7}, "op must be a text"),
        ({"op": "ready", "d": []}, "d must be a map"),
        ({"op": "ready", "s": 0}, "s must be a whole number of at least 1"),
        ({"op": "ready", "s": True}, "s must be a whole number of at least 1"),
        ({"op": "ready", "cid": 1.5}, "cid must be a text or a whole number"),
        ({"op": "heartbeat_ack"}, "d.seq is missing"),
        ({"op": "heartbeat_ack", "d": {"seq": None}}, "d.seq is missing"),
        ({"op": "heartbeat_ack", "d": {"seq": -1}}, "d.seq must lie in 0..2^64-1"),
        ({"op": "heartbeat_ack", "d": {"seq": 1.0}}, "d.seq must be a whole number, not float"),
        ({"op": "heartbeat_ack", "d": {"seq": True}}, "d.seq must be a whole number, not bool"),
        ({"op": "dialogue.delta", "d": {**DELTA, "text": 1}}, "d.text must be a text, not int"),
        (
            {"op": "turn.done", "d": {**done("t", ""), "fallback": 1}},
            "d.fallback must be true or false, not int",
        ),
        ({"op": "turn.done", "d": {**done("t", ""), "usage": 1}}, "d.usage must be a map, not int"),
        (
            {"op": "turn.done", "d": {**done("t", ""), "timing": {"queue_ms": 1, "ttft_ms": 1}}},
            "d.timing.total_ms is missing",
        ),
        (
            {
                "op": "turn.cancelled",
                "d": {
                    "turn": "t",
                    "player": "p",
                    "valid_through": {"text_offset": 0, "t_ms": 0},
                    "retracted": [1],
                },
            },
            "d.retracted[0] must be a text, not int",
        ),
    ],
)
def test_what_is_no_frame_is_refused(subprotocol: Subprotocol, frame: Any, why: str) -> None:
    assert refusal(frame, subprotocol) == why


@pytest.mark.parametrize("subprotocol", FORMS)
def test_maps_inside_are_checked(subprotocol: Subprotocol) -> None:
    emotion = {
        "turn": "t",
        "player": "mina",
        "label": "joy",
        "intensity": 1,
        "probs": {"joy": "much"},
        "text_offset": 0,
        "t_ms": 0,
    }
    assert refusal({"op": "emotion", "d": emotion}, subprotocol) == "d.probs.joy must be a number, not str"
    emotion["probs"] = {"joy": 1}
    read = read_server_frame(written({"op": "emotion", "d": emotion}, subprotocol), subprotocol).d
    assert isinstance(read, Emotion)
    assert (read.intensity, read.probs) == (1.0, {"joy": 1.0})
    assert isinstance(read.intensity, float)


def test_numbers_that_are_none_are_refused() -> None:
    for text, why in [
        ('{"op":"x","d":{"n":NaN}}', "NaN is no number"),
        ('{"op":"x","d":{"n":-Infinity}}', "-Infinity is no number"),
    ]:
        with pytest.raises(PayloadError, match=why):
            read_server_frame(text, Subprotocol.JSON)
    error = {"code": "overloaded", "message": "", "temporary": True, "limit": float("nan")}
    assert refusal({"op": "error", "d": error}, Subprotocol.MSGPACK) == "d.limit must be finite"
    error["limit"] = 2**70
    assert refusal({"op": "error", "d": error}, Subprotocol.JSON) == "d.limit is too large"


@pytest.mark.parametrize(
    "message",
    ["", "{", "[" * 100_000, '{"op":"hello"} tail', "\ud800"],
)
def test_text_that_is_no_json_is_refused(message: str) -> None:
    with pytest.raises(PayloadError, match=r"npc\.v1\.json"):
        read_server_frame(message, Subprotocol.JSON)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        b"\x81\xa2op\xa1x\xc0",  # more behind the map
        b"\xdf\xff\xff\xff\xff",  # a map that claims four billion entries
        b"\xc6\xff\xff\xff\xff",  # a blob of four gigabytes
        b"\x81\x01\xa1x",  # a key that is no text
        b"\xa2\xff\xfe",  # not UTF-8
    ],
)
def test_bytes_that_are_no_message_are_refused(message: bytes) -> None:
    with pytest.raises(PayloadError, match=r"npc\.v1\.msgpack"):
        read_server_frame(message, Subprotocol.MSGPACK)


def test_the_kind_of_message_must_be_the_subprotocols() -> None:
    with pytest.raises(PayloadError, match=r"a text message does not belong to npc\.v1\.msgpack"):
        read_server_frame("{}", Subprotocol.MSGPACK)
    with pytest.raises(PayloadError, match=r"a binary message does not belong to npc\.v1\.json"):
        read_server_frame(b"\x80", Subprotocol.JSON)


@pytest.mark.parametrize("subprotocol", FORMS)
def test_what_is_new_is_let_through(subprotocol: Subprotocol) -> None:
    frame = read_server_frame(written({"op": "weather", "s": 3, "d": {"rain": 1}}, subprotocol), subprotocol)
    assert frame.d == Unknown(op="weather", d={"rain": 1})
    assert frame.s == 3
    delta = read_server_frame(
        written({"op": "dialogue.delta", "s": 4, "d": {**DELTA, "mood": "new"}, "more": 1}, subprotocol),
        subprotocol,
    ).d
    assert isinstance(delta, DialogueDelta)
    assert str(delta) == "Good"
    later = read_server_frame(
        written({"op": "error", "d": {"code": "too_foggy", "message": "", "temporary": False}}, subprotocol),
        subprotocol,
    ).d
    assert isinstance(later, ErrorFrame)
    assert later.code == "too_foggy"
    ended = read_server_frame(
        written({"op": "turn.done", "d": done("t", "", "bored")}, subprotocol), subprotocol
    ).d
    assert isinstance(ended, TurnDone)
    assert ended.reason == "bored"


def test_a_blob_is_an_array_in_json() -> None:
    face = {
        "turn": "t",
        "player": "mina",
        "text_offset": 0,
        "t_ms": 0,
        "ease_ms": 1,
        "au": {},
        "w": bytes(range(52)),
    }
    from_blob = read_server_frame(written({"op": "face.key", "d": face}, FORMS[1]), FORMS[1]).d
    from_list = read_server_frame(
        written({"op": "face.key", "d": {**face, "w": list(range(52))}}, FORMS[0]), FORMS[0]
    ).d
    assert from_blob == from_list
    assert isinstance(from_blob, FaceKey)
    assert from_blob.w == bytes(range(52))
    for wrong in ([256], [-1], [True], "AAAA"):
        assert "d.w must be a blob" in refusal({"op": "face.key", "d": {**face, "w": wrong}}, FORMS[0])


def test_what_cannot_be_written_is_refused() -> None:
    for subprotocol in FORMS:
        with pytest.raises(PayloadError, match="cannot be written"):
            encode({"op": "say", "d": {"text": object()}}, subprotocol)
    with pytest.raises(PayloadError, match="cannot be written"):
        encode({"op": "say", "d": {"x": float("nan")}}, Subprotocol.JSON)


def test_a_client_frame_of_no_client_is_refused() -> None:
    with pytest.raises(PayloadError, match="op is none of a client"):
        read_client_frame('{"op":"hello"}', Subprotocol.JSON)
