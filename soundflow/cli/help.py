"""How `soundflow --help` looks: commands in groups, whole sentences, and suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import typer
from typer.core import TyperGroup

from soundflow.cli.common import USAGE
from soundflow.schemas.suggest import did_you_mean

GROUPS: Final = {
    "Recordings and clips": ("clips", "sources", "tfjp"),
    "Recipes": ("init", "tasks", "schema", "estimate", "curate"),
    "Corpora": ("build", "status", "verify", "replay", "report", "diff", "gc", "materialize", "fetch", "export"),
    "Speech": ("speak", "review", "say", "hear"),
    "Curation": ("ask", "audit"),
    "Cluster": ("submit", "jobs"),
    "Training and serving": ("model", "train", "evaluate", "serve", "listen"),
    "Benchmarks and assets": ("bench", "assets"),
}
"""Headings of `soundflow --help` and their commands, in the order in which they are shown."""
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Context settings of the root command; its sub-commands inherit them."""


class CommandGroup(TyperGroup):
    """A typer group that lists its commands under `GROUPS` and suggests the closest command name."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with the first sentence of their help; a nested group has the single heading `Commands`."""
        for heading, names in self._headings():
            rows = [(name, first_sentence(self.commands[name].help or "")) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def _headings(self) -> Iterator[tuple[str, list[str]]]:
        waiting = {name: None for name, command in self.commands.items() if not command.hidden}
        for heading, names in GROUPS.items() if self.name == "soundflow" else ():
            found = [name for name in names if name in waiting]
            for name in found:
                del waiting[name]
            if found:
                yield heading, found
        if waiting:
            yield "Commands", list(waiting)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the help on stderr when no command is given (exit code 2)."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that `args` starts with; a usage error suggests the closest name."""
        name = args[0]
        if not name.startswith("-") and name not in self.commands and not ctx.resilient_parsing:
            visible = (known for known, command in self.commands.items() if not command.hidden)
            ctx.fail(f"unknown command: {name}. {did_you_mean(name, visible)}".strip())
        return super().resolve_command(ctx, args)


def sub_app(about: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(help=about, cls=CommandGroup, rich_markup_mode=None)


def first_sentence(text: str) -> str:
    """Return the first sentence of a help text."""
    return text.partition(". ")[0].rstrip(".") + "."


def usage_error(error: typer.TyperException) -> str:
    """Return one line that says what is wrong with the command line and which command prints the help for it."""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if context is not None and option is not None and hasattr(error, "possibilities"):
        known = (name for param in context.command.get_params(context) for name in param.opts if name.startswith("--"))
        message = f"unknown option: {option}. {did_you_mean(option, known)}".strip()
    else:
        message = " ".join(error.format_message().split()).replace("Value error, ", "")
    end = "" if message.endswith((".", "?")) else "."
    return f"{message}{end}" if context is None else f"{message}{end} Help: {context.command_path} --help"
