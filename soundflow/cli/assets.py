"""`soundflow assets …`: files that are not part of the repository."""

from __future__ import annotations

from typing import Annotated

import typer

from soundflow.cli.common import FAILED, Json, say, say_json
from soundflow.cli.help import sub_app

assets_app = sub_app("Fetch and verify files that are not part of the repository: recordings, vocabularies, model weights.")


@assets_app.command(
    "list",
    help="List every asset with its role, licence, size, sources and whether it is installed.",
    epilog="Example: soundflow assets list --json",
)
def assets_list(as_json: Json = False) -> None:
    """Run `soundflow assets list`."""
    from soundflow.pipeline.services import assets

    rows = assets.listing()
    if as_json:
        say_json([row.to_json() for row in rows])
    else:
        for row in rows:
            say(row.describe())


@assets_app.command(
    "fetch",
    help="Download assets from any of their sources and check their SHA-256.",
    epilog="Example: soundflow assets fetch scratch sonic-pi-samples",
)
def assets_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of assets (default: all that are not optional).", show_default=False)
    ] = None,
) -> None:
    """Run `soundflow assets fetch`."""
    from soundflow.pipeline.services import assets

    for row in assets.fetch(names or None, on_progress=say):
        say(row.describe())


@assets_app.command(
    "verify",
    help="Check the SHA-256 of every installed asset. Exit code 1: an asset is damaged.",
    epilog="Example: soundflow assets verify --json",
)
def assets_verify(as_json: Json = False) -> None:
    """Run `soundflow assets verify`."""
    from soundflow.pipeline.services import assets

    rows = assets.verify()
    if as_json:
        say_json([row.to_json() for row in rows])
    else:
        for row in rows:
            say(row.describe())
    if any(row.state == "damaged" for row in rows):
        raise typer.Exit(FAILED)
