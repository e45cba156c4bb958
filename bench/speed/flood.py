"""What two clients that flood the server cost a third one.

`python -m soundflow.bench.speed.flood [--json OUT] [--runs N]`. A real server process serves the smallest preset with random
weights. A client sends chunk after chunk and waits for each decision: first alone, then while two other clients, in processes of
their own, send messages as fast as the connection takes them. Each kind of message is one row. The ratios are medians of the
client's waits, flooded to quiet; everything shares the cores of this machine, so they include the work of the flooding processes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np

from soundflow.bench.harness import measure as bench
from soundflow.schemas import constants as c

CHUNKS: Final = 40
FLOODING: Final = 2
FLOODS: Final[dict[str, str | bytes]] = {
    "response.cancel": '{"type": "response.cancel"}',
    "unknown commands": '{"type": "make tea"}',
    "empty messages": b"",
    "audio too fast": bytes(64_000),
}
"""Kind → the message that is sent over and over."""
START_SECONDS: Final = 120.0


async def measure_client(url: str) -> list[float]:
    """Return the seconds from sending each chunk to its decision."""
    noise = (np.random.default_rng(0).standard_normal(c.CHUNK_SAMPLES) * 1000).astype("<i2").tobytes()
    waits = []
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/v1/listen", params={"threshold": "0.999"}) as client:
        await client.receive()
        for _ in range(CHUNKS):
            begun = time.perf_counter()
            await client.send_bytes(noise)
            while (await client.receive_json())["type"] != "chunk.silent":
                pass
            waits.append(time.perf_counter() - begun)
            await asyncio.sleep(0.02)
        await client.send_str('{"type": "session.close"}')
    return waits


def flood(url: str, message: str | bytes, begun: Any) -> None:
    """Send a message over and over until the process is killed, and read what the server answers."""

    async def read(client: aiohttp.ClientWebSocketResponse) -> None:
        async for _ in client:
            pass

    async def send() -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.ws_connect(f"{url}/v1/listen", params={"threshold": "0.999"}) as client:
                        reading = asyncio.create_task(read(client))
                        while not reading.done():
                            for _ in range(50):
                                await (client.send_str(message) if isinstance(message, str) else client.send_bytes(message))
                            begun.set()
                            await asyncio.sleep(0)
                except (aiohttp.ClientError, ConnectionError):
                    await asyncio.sleep(0.05)

    asyncio.run(send())


def measure_flooded(url: str, message: str | bytes) -> list[float]:
    """Return the waits of a client beside `FLOODING` clients that send `message`."""
    spawn = multiprocessing.get_context("spawn")
    begun = [spawn.Event() for _ in range(FLOODING)]
    processes = [spawn.Process(target=flood, args=(url, message, event), daemon=True) for event in begun]
    for process in processes:
        process.start()
    try:
        for event in begun:
            event.wait(START_SECONDS)
        return asyncio.run(measure_client(url))
    finally:
        for process in processes:
            process.kill()
            process.join()


def start_server(model: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `soundflow serve`; return the process and the address once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "soundflow",
        "serve",
        "--model",
        str(model),
        "--port",
        str(port),
        "--sessions",
        "64",
    ]  # the seats of killed clients wait
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    if "listening" not in server.stdout.readline():
        raise RuntimeError("the server did not start")
    return server, f"http://127.0.0.1:{port}"


def make_model(directory: Path) -> Path:
    """Save a model of the smallest preset with random weights."""
    from soundflow.model.thinker import StreamingThinker
    from soundflow.model.vocabulary import StreamingConfig

    ids = tuple(range(256))
    StreamingThinker.from_scratch("nano", StreamingConfig(layout="soundflow/1", text_ids=ids), seed=0).save(directory)
    return directory


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit code 1 if a limit is missed."""
    args = bench.parse_arguments("speed.flood", argv, runs=3)
    waits: dict[str, list[float]] = {name: [] for name in ("quiet", *FLOODS)}
    with tempfile.TemporaryDirectory() as folder:
        server, url = start_server(make_model(Path(folder) / "model"))
        try:
            asyncio.run(measure_client(url))  # warm up
            for _ in range(args.runs):
                waits["quiet"] += asyncio.run(measure_client(url))
                for name, message in FLOODS.items():
                    waits[name] += measure_flooded(url, message)
        finally:
            server.terminate()
            server.wait()
    medians = {name: statistics.median(found) for name, found in waits.items()}
    ratios = [bench.Ratio(f"{name} / quiet", medians[name] / medians["quiet"], at_most=3.0) for name in FLOODS]
    notes = {"flooding_clients": FLOODING, "chunks": CHUNKS * args.runs}
    notes |= {f"p95_ms_{name}": round(1000 * bench.quantile(found, 0.95), 1) for name, found in waits.items()}
    return bench.finish("flood", ratios, medians, versions=["aiohttp", "torch"], json_path=args.json, notes=notes)


if __name__ == "__main__":
    raise SystemExit(main())
