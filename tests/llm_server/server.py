"""A real OpenAI-compatible server on this machine: llama.cpp with a small model, one thread, loopback only.

`OMP_NUM_THREADS=1 python -m tests.llm_server.server MODEL.gguf` prints its base URL and serves until it is killed.
The key it wants is $LLM_SERVER_KEY. One thread: two on a busy machine wait for each other (18 tokens a second fall to 0.3).
"""

from __future__ import annotations

import os
import sys
import threading

import xllamacpp


def serve(model: str) -> str:
    """Start serving in threads of this process; returns the base URL."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.n_ctx, parameters.n_parallel = 12_288, 2
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.n_threads_http = 4
    parameters.warmup = False
    if key := os.environ.get("LLM_SERVER_KEY"):
        parameters.api_keys = [key]
    serve.server = xllamacpp.Server(parameters)  # type: ignore[attr-defined]  # lives as long as the process
    return f"{serve.server.listening_address}/v1"  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.stdout.write(serve(sys.argv[1]) + "\n")
    sys.stdout.flush()
    threading.Event().wait()
