"""The example of a backend of one's own: a valid generator, and a service that a recipe's section reaches."""

from __future__ import annotations

import asyncio
import runpy
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from soundflow.operators.protocols.generation import GeneratedSound, Generator
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.generators import open_generator
from soundflow.schemas.generation import GenerationConfig
from soundflow.schemas.outcome import Ok, Outcome, Rejected
from tests.support import ROOT

EXAMPLE = ROOT / "examples" / "python" / "own_backend.py"


def section(example: dict[str, Any], address: str) -> GenerationConfig:
    """The recipe section of the docstring, at another address."""
    [line] = [line for line in example["__doc__"].splitlines() if "generation:" in line]
    return GenerationConfig.model_validate(yaml.safe_load(line.replace("http://127.0.0.1:9000", address))["generation"])


def test_the_generator_works_in_python_and_behind_a_recipe(tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLE))
    own: Generator = example["Beeps"]()
    server = ThreadingHTTPServer(("127.0.0.1", 0), example["Service"])
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    async def both(caption: str) -> tuple[Outcome[GeneratedSound], Outcome[GeneratedSound]]:
        config = section(example, f"http://127.0.0.1:{server.server_port}")
        async with open_generator(config, AnswerCache(tmp_path)) as remote:
            assert remote is not None
            return await own.generate(caption, (1.5, 1.5), 7), await remote.generate(caption, (1.5, 1.5), 7)

    direct, served = asyncio.run(both("A microwave beeps"))
    other, refused = asyncio.run(both("A dog barks"))
    server.shutdown()
    server.server_close()
    assert isinstance(direct, Ok) and isinstance(served, Ok)
    assert direct.value.samples.shape == (24_000,) and direct.value.samples.dtype == np.float32
    difference = np.abs(direct.value.samples - served.value.samples).max()
    assert difference <= 2**-15 < np.abs(direct.value.samples).max()  # what is read from a file has its offset removed
    assert isinstance(other, Rejected) and other.reason == "cannot_make"
    assert isinstance(refused, Rejected) and "only beeps are made here" in refused.metrics["detail"]
