"""What the README and the examples show runs, against the real gateway."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from .gateway import Gateway

PACKAGE = Path(__file__).resolve().parents[1]
PATIENCE = 300.0
"""A guard against a program that hangs."""


async def run(*words: str, said: str = "") -> tuple[int | None, str, str]:
    """Runs a Python program: its exit code, what it printed, and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, complaint = await process.communicate(said.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), complaint.decode()


async def test_the_readmes_example(gateway: Gateway) -> None:
    (block,) = re.findall(
        r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert block.count("ws://127.0.0.1:7777") == 1
    code, out, complaint = await run("-c", block.replace("ws://127.0.0.1:7777", gateway.url))
    assert (code, complaint) == (0, "")
    assert re.fullmatch(r".+\n(stop|length): \d+ tokens\n", out, re.DOTALL), out


async def test_the_chat(gateway: Gateway) -> None:
    chat = str(PACKAGE / "examples" / "chat.py")
    code, out, complaint = await run(
        chat, gateway.url, "--player", "mina", "--npc", "chatty", said="Hello\n\n/quit\n"
    )
    assert (code, complaint) == (0, "")
    assert re.fullmatch(r"mina: \S.*: \S.*\nmina: mina: ", out, re.DOTALL), out


async def test_the_chat_says_what_is_wrong(gateway: Gateway) -> None:
    chat = str(PACKAGE / "examples" / "chat.py")
    code, _, complaint = await run(chat, gateway.url, "--npc", "new", "--archetype", "accountant")
    assert code == 1
    assert complaint.startswith("error: unknown_archetype: ")
