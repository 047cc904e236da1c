"""Where tokens come from and when they run out."""

import base64
import json
import time
from typing import Any

import pytest

from npc_gateway_client import Token
from npc_gateway_client.session.tokens import MARGIN, Tokens


def jwt(claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


async def test_a_text_is_all_there_is() -> None:
    tokens = Tokens("mina")
    assert not tokens.renewable
    assert await tokens.fresh() == await tokens.usable() == "mina"
    assert tokens.renew_in() is None


async def test_a_function_is_called_when_a_new_one_is_needed() -> None:
    count = 0

    def fetch() -> str:
        nonlocal count
        count += 1
        return f"token-{count}"

    tokens = Tokens(fetch)
    assert tokens.renewable
    assert await tokens.usable() == "token-1"
    # Nobody knows when it ends.
    assert await tokens.usable() == "token-2"
    assert tokens.renew_in() is None


async def test_the_end_of_a_token_is_known() -> None:
    ends = [time.time() + 1000, time.time() + 2000]

    async def fetch() -> str | Token:
        end = ends.pop(0)
        return jwt({"exp": end}) if len(ends) else Token("opaque", expires_at=end)

    tokens = Tokens(fetch)
    first = await tokens.usable()
    assert await tokens.usable() == first
    rest = tokens.renew_in()
    assert rest is not None
    assert 1000 - MARGIN - 10 < rest <= 1000 - MARGIN
    assert await tokens.fresh() == "opaque"
    rest = tokens.renew_in()
    assert rest is not None
    assert rest > 1800


async def test_a_short_life_is_renewed_before_its_last_fifth() -> None:
    tokens = Tokens(lambda: Token("short", expires_at=time.time() + 10))
    await tokens.fresh()
    rest = tokens.renew_in()
    assert rest is not None
    assert 7 < rest <= 8
    tokens = Tokens(lambda: Token("gone", expires_at=time.time() - 10))
    await tokens.fresh()
    rest = tokens.renew_in()
    assert rest is not None
    assert rest <= -9


@pytest.mark.parametrize(
    "token", ["mina", "a.b", "a.b.c", "..", jwt([]), jwt({"exp": "soon"}), jwt({"exp": True}), jwt({})]
)
async def test_what_is_no_jwt_has_no_end(token: str) -> None:
    tokens = Tokens(lambda: token)
    assert await tokens.fresh() == token
    assert tokens.renew_in() is None


async def test_what_is_no_token_is_refused() -> None:
    for wrong in ("", Token("")):
        with pytest.raises(ValueError, match="not empty"):
            Tokens(wrong)
    with pytest.raises(TypeError, match="token must be"):
        Tokens(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not empty"):
        await Tokens(lambda: "").fresh()
