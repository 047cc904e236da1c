"""Pauses between attempts."""

import random
from collections.abc import Callable

from ..settings import Reconnect

MAX_EXPONENT = 32
"""``2**n`` past this is above any cap."""


class Backoff:
    """Grows with every attempt without success, and is random, so that clients spread."""

    def __init__(
        self, settings: Reconnect, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._settings = settings
        self._uniform = uniform
        self.attempts = 0

    def succeeded(self) -> None:
        """Begins anew."""
        self.attempts = 0

    @property
    def exhausted(self) -> bool:
        """Whether there were as many attempts as there may be."""
        most = self._settings.attempts
        return most is not None and self.attempts >= most

    def next(self, *, wait: bool = False) -> float:
        """Seconds before the next attempt; ``wait``: the gateway asked for a pause."""
        settings = self._settings
        ceiling = min(settings.cap, settings.base * 2.0 ** min(self.attempts, MAX_EXPONENT))
        self.attempts += 1
        return (settings.wait if wait else 0.0) + self._uniform(0.0, ceiling)
