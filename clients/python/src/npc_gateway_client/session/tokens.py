"""The player's token: where it comes from and when it runs out."""

import asyncio
import base64
import binascii
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

MARGIN = 60.0
"""Seconds before its end at which a token is renewed, or a fifth of its life if that is less."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and, where it is known, when it runs out (seconds since 1970).

    The end of a JSON Web Token need not be given: it is read from the token.
    """

    text: str
    expires_at: float | None = None


TokenSource = str | Token | Callable[[], str | Token | Awaitable[str | Token]]
"""A token, or a function that fetches one, which is called again whenever a new one is needed."""


class Tokens:
    """The token that is in use."""

    def __init__(self, source: TokenSource) -> None:
        self._fetch: Callable[[], str | Token | Awaitable[str | Token]] | None = None
        self._token: Token | None = None
        self._life = 0.0
        self.changed = asyncio.Event()
        if isinstance(source, str | Token):
            self.replace(source)
        elif callable(source):
            self._fetch = source
        else:
            raise TypeError("token must be a text, a Token, or a function that returns one")

    @property
    def renewable(self) -> bool:
        """Whether there is a function that fetches another one."""
        return self._fetch is not None

    def replace(self, token: str | Token) -> str:
        """Uses this one from now on."""
        if isinstance(token, str):
            token = Token(token)
        if not isinstance(token, Token) or not isinstance(token.text, str) or not token.text:
            raise ValueError("a token must be a text that is not empty")
        if token.expires_at is None:
            token = Token(token.text, _end_of_jwt(token.text))
        if token.expires_at is not None:
            self._life = max(0.0, token.expires_at - time.time())
        self._token = token
        self.changed.set()
        return token.text

    def lasts(self, milliseconds: int | None) -> None:
        """The gateway has said how long the token in use lasts: taken where nobody else said so."""
        if milliseconds is not None and self._token is not None and self._token.expires_at is None:
            self.replace(Token(self._token.text, time.time() + milliseconds / 1000))

    async def fresh(self) -> str:
        """A new one, or the only one."""
        if self._fetch is None:
            if self._token is None:
                raise ValueError("there is no token")
            return self._token.text
        token = self._fetch()
        if inspect.isawaitable(token):
            token = await token
        return self.replace(token)

    async def usable(self) -> str:
        """The one in use if its end is known and not near, otherwise a new one."""
        if self._token is not None and self._fetch is not None:
            rest = self.renew_in()
            if rest is not None and rest > 0:
                return self._token.text
        return await self.fresh()

    def renew_in(self) -> float | None:
        """Seconds until it should be renewed; ``None``: nobody knows, or nobody can."""
        if self._fetch is None or self._token is None or self._token.expires_at is None:
            return None
        return self._token.expires_at - time.time() - min(MARGIN, self._life / 5)


def _end_of_jwt(token: str) -> float | None:
    """``exp`` of a JSON Web Token. Only the gateway checks the signature; here it is a hint."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    return float(end) if isinstance(end, int | float) and not isinstance(end, bool) else None
