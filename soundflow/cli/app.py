"""The command line: one typer app whose commands are in the modules of this package.

Exit codes: 0 success; 1 a check found problems; 2 wrong usage or input; 3 the work is incomplete and the same command resumes
it; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer
from typer.main import get_command

from soundflow.cli import assets, bench, clips, corpus, curation, estimate, export, jobs, reference, serve, sources, speech, train
from soundflow.cli.common import FAILED, INCOMPLETE, INTERRUPTED, USAGE, escape_unprintable
from soundflow.cli.help import SETTINGS, CommandGroup, usage_error
from soundflow.pipeline.mechanics.stopping import SIGNALS, raise_interrupted, signal_handler
from soundflow.schemas.base import InputError, Interrupted
from soundflow.schemas.llm import Halted, ServiceUnreachable

app = typer.Typer(
    name="soundflow",
    help="Build and verify corpora of always-on audio streams, train a streaming model on them and serve it.",
    epilog="Install tab completion for your shell: soundflow --install-completion",
    cls=CommandGroup,
    context_settings=SETTINGS,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(clips.clips_app, name="clips")
app.add_typer(clips.top)
app.add_typer(sources.sources_app, name="sources")
app.add_typer(corpus.top)
app.add_typer(reference.top)
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


def _print_version(requested: bool) -> None:
    if requested:
        from soundflow import __version__

        typer.echo(f"soundflow {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Accept the options that stand before a command."""


def _use_utf8_names() -> None:
    """Start Python again in UTF-8 mode when it reads file names in another encoding, as in a POSIX locale."""
    is_utf8 = sys.getfilesystemencoding().lower() in ("utf-8", "utf8")
    if not is_utf8 and not sys.flags.ignore_environment and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONUTF8": "1"})


def main(arguments: list[str] | None = None) -> None:
    """Run the app and exit; a usage error, a wrong input or a full disk is reported in one line on stderr."""
    if arguments is None:
        _use_utf8_names()
    escape_unprintable(sys.stdout, sys.stderr)
    try:
        with signal_handler(raise_interrupted):
            sys.exit(get_command(app).main(arguments, prog_name="soundflow", standalone_mode=False) or 0)
    except typer.TyperException as error:
        typer.echo(f"error: {usage_error(error)}", err=True)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(FAILED)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    except Halted as halted:
        is_start = isinstance(halted, ServiceUnreachable) and not halted.has_begun
        typer.echo(f"{'error' if is_start else 'stopped'}: {halted.message()}", err=True)
        sys.exit(USAGE if is_start else INCOMPLETE)
    except OSError as error:
        typer.echo(f"error: {error}. Committed work is intact; run the same command again to resume", err=True)
        sys.exit(INCOMPLETE)
    except Interrupted:
        if arguments is None:  # the process ends here: a second signal must not cut off its last output or its pools
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        typer.echo("interrupted: committed work is intact; run the same command again to resume", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
