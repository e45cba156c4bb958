"""`soundflow bench …`: benchmarks of models, scored honestly."""

from __future__ import annotations

from commands.bench_proactive import proactive_app
from commands.common import sub_app

bench_app = sub_app("Benchmarks of models.")
bench_app.add_typer(proactive_app, name="proactive")
