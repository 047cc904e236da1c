"""The real gateway, in a process of its own, and a network in front of it that can be cut."""

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from asyncio.subprocess import PIPE, Process
from pathlib import Path

START = 300.0
"""Seconds that a start may take: a guard against one that hangs."""


def needed(variable: str) -> str:
    """An environment variable of `cargo xtask test`."""
    value = os.environ.get(variable)
    if not value:
        raise RuntimeError(f"{variable} is not set: run the tests with `cargo xtask test`")
    return value


class Gateway:
    """A gateway on a free port."""

    def __init__(self, process: Process, port: int, data: "tempfile.TemporaryDirectory[str]") -> None:
        self._process = process
        self._data = data
        self.port = port

    @classmethod
    async def start(cls, *sets: str) -> "Gateway":
        """Starts it, with settings (`section.key=value`), and waits until it listens."""
        binary, model = needed("NPC_GATEWAY_TEST_BINARY"), needed("NPC_GATEWAY_TEST_MODEL")
        data = tempfile.TemporaryDirectory(prefix="npc-gateway-client-")
        defaults = [
            "engine.rows=4",
            "engine.context=512",
            # A busy machine may take longer for a line than these allow by default.
            "turn.queue_timeout_ms=600000",
            "engine.overload_wait_ms=600000",
            "session.heartbeat_ms=60000",
        ]
        words = ["serve", "--listen", "127.0.0.1:0", "--data", data.name, "--model", model]
        for setting in [*defaults, *sets]:
            words += ["--set", setting]
        process = await asyncio.create_subprocess_exec(binary, *words, stdout=PIPE, cwd=data.name)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START):
                line = (await process.stdout.readline()).decode()
            match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
            assert match, f"the gateway said {line!r}"
        except BaseException:
            process.kill()
            await process.wait()
            data.cleanup()
            raise
        return cls(process, int(match[1]), data)

    @property
    def url(self) -> str:
        """Its address."""
        return f"ws://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Ends it."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(60):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._data.cleanup()


class Network:
    """A network between a client and the gateway: TCP that can be cut at any byte."""

    def __init__(self, port: int) -> None:
        self.target = port
        """The port behind it."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: int | None = None
        self.cuts = 0
        """How often it was cut."""
        self.connections = 0
        """How many connections it carried."""
        self.down = False
        """While true, new connections are dropped at once."""

    async def __aenter__(self) -> "Network":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The gateway's address through this network."""
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut_after(self, count: int) -> None:
        """Cuts it when the gateway has sent so many more bytes, wherever in a frame that is."""
        self._left = count

    def cut(self) -> None:
        """Cuts it now: no word to either side."""
        self.cuts += 1
        self._left = None
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.down:
            writer.transport.abort()
            return
        self.connections += 1
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        both = {writer, there_writer}
        self._writers |= both
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(
                    self._pump(reader, there_writer, up=True), self._pump(there_reader, writer)
                )
        finally:
            for each in both:
                each.transport.abort()
            self._writers -= both

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool = False
    ) -> None:
        while data := await reader.read(4096):
            if not up and self._left is not None:
                if len(data) >= self._left:
                    writer.write(data[: self._left])
                    with contextlib.suppress(OSError):
                        await writer.drain()
                    # What was written last must reach the client, or the cut would be between two frames.
                    await asyncio.sleep(0.05)
                    self.cut()
                    return
                self._left -= len(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def repository() -> Path:
    """The folder of the whole project."""
    return Path(__file__).resolve().parents[3]
