"""What the tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .gateway import Gateway
from .scripted import Scripted

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden frames."""
    folder = REPOSITORY / "schemas" / "golden"
    assert folder.is_dir(), f"{folder} is missing"
    return folder


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """A server that plays a script, for what no real gateway can be made to do."""
    server = Scripted()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
async def gateway() -> AsyncIterator[Gateway]:
    """The real gateway with the real model, in a process of its own."""
    server = await Gateway.start()
    yield server
    await server.stop()
