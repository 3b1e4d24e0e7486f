"""A store that is far away: a proxy on loopback that hands on every byte of a request a while later.

python -m benchmarks.latency PORT TARGET_PORT SECONDS
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.measure import end_with_parent
from benchmarks.server import Server, free_port


async def _late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Each chunk ``seconds`` after it came; chunks do not wait for each other."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    clock = asyncio.get_running_loop().time

    async def write() -> None:
        while True:
            due, chunk = await waiting.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not chunk:
                writer.close()
                return
            writer.write(chunk)
            await writer.drain()

    writing = asyncio.create_task(write())
    try:
        while chunk := await reader.read(1 << 16):
            waiting.put_nowait((clock() + seconds, chunk))
    except OSError:
        pass
    waiting.put_nowait((clock(), b""))
    await asyncio.gather(writing, return_exceptions=True)


async def _serve(port: int, target: int, seconds: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_late(reader, there_writer, seconds), _late(there_reader, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


@contextmanager
def delayed(here: Server, seconds: float) -> Iterator[Server]:
    """The same server, ``seconds`` away; itself if there is no delay."""
    if not seconds:
        yield here
        return
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.latency", str(port), here.endpoint.rpartition(":")[2], str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=end_with_parent)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield replace(here, endpoint=f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
