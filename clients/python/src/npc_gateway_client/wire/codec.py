"""Messages to plain maps and back, in JSON and MessagePack."""

import json
from typing import cast

import msgpack

from .codes import Subprotocol
from .convert import PayloadError


def encode(value: dict[str, object], subprotocol: Subprotocol) -> str | bytes:
    """A message. Raises :class:`PayloadError` where a value cannot be written."""
    try:
        if subprotocol is Subprotocol.JSON:
            return json.dumps(
                value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_blob
            )
        # Weights, probabilities and intensities, none of which needs more than 24 bits.
        return cast("bytes", msgpack.packb(value, use_single_float=True))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadError(f"cannot be written: {error}") from error


def decode(message: str | bytes, subprotocol: Subprotocol) -> dict[str, object]:
    """The map of a message. Raises :class:`PayloadError` where it is none, or the wrong kind of message."""
    if isinstance(message, str) is not (subprotocol is Subprotocol.JSON):
        kind = "text" if isinstance(message, str) else "binary"
        raise PayloadError(f"a {kind} message does not belong to {subprotocol.value}")
    try:
        if isinstance(message, str):
            value = json.loads(message, parse_constant=_no_constant)
        else:
            # What nests or claims more than the message holds is refused by the decoder.
            value = msgpack.unpackb(message, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise PayloadError(f"the message is not {subprotocol.value}: {error}") from error
    if not isinstance(value, dict):
        raise PayloadError("the message is no map")
    return value


def _blob(value: object) -> list[int]:
    if isinstance(value, bytes):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
