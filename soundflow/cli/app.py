"""The front door: a thin typer app. The commands are in `cli/`; each imports its room only when it is called.

Exit codes: 0 done, 1 verify found problems, 2 bad usage or input, 3 finished with failed or missing shards (run the
same command again to resume), 130 interrupted.
"""

from __future__ import annotations

import signal
import sys

import typer

from soundflow.cli import assets, bench, clips, corpus, curation, estimate, export, jobs, serve, sources, speech, train
from soundflow.cli.common import INCOMPLETE, INTERRUPTED, USAGE
from soundflow.pipeline.mechanics.stopping import SIGNALS, interrupt, signals_handled_by
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.llm import Halted

app = typer.Typer(
    name="soundflow",
    help="Build, explain and verify corpora of always-on audio streams (a decision every 400 ms).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(clips.clips_app, name="clips")
app.add_typer(clips.top)
app.add_typer(sources.sources_app, name="sources")
app.add_typer(corpus.top)
app.add_typer(estimate.top)
app.add_typer(jobs.top)
app.add_typer(jobs.jobs_app, name="jobs")
app.add_typer(curation.top)
app.add_typer(export.export_app, name="export")
app.add_typer(speech.top)
app.add_typer(assets.assets_app, name="assets")
app.add_typer(bench.bench_app, name="bench")
app.add_typer(train.model_app, name="model")
app.add_typer(train.top)
app.add_typer(serve.top)


def main(arguments: list[str] | None = None) -> None:
    """Run the app; user mistakes and full disks become one sentence, signals exit code 130."""
    try:
        with signals_handled_by(interrupt):
            app(args=arguments)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    except Halted as halted:
        typer.echo(f"stopped: {halted.message()}", err=True)
        sys.exit(INCOMPLETE)
    except OSError as error:
        typer.echo(f"error: {error}. What was committed is intact; the same command resumes", err=True)
        sys.exit(INCOMPLETE)
    except Interrupted:
        if arguments is None:  # this process ends: nothing may break off its last words and the end of its pools
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        typer.echo("interrupted: nothing half-written counts; the same command resumes", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
