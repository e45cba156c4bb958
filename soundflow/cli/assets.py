"""`soundflow assets …`: files that are not in the repository."""

from __future__ import annotations

from typing import Annotated

import typer

from soundflow.cli.common import FAILED, Json, say, say_json
from soundflow.cli.help import sub_app

assets_app = sub_app("Files that are not in the repository: real recordings, vocabularies.")


@assets_app.command(
    "list", help="Every asset: role, licence, size, sources, whether it is here.", epilog="Example: soundflow assets list --json"
)
def assets_list(as_json: Json = False) -> None:
    """`soundflow assets list`."""
    from soundflow.pipeline.services import assets

    rows = assets.listing()
    if as_json:
        say_json([row.to_json() for row in rows])
    else:
        for row in rows:
            say(row.describe())


@assets_app.command(
    "fetch",
    help="Fetch assets; whatever source answers, the hash decides.",
    epilog="Example: soundflow assets fetch scratch sonic-pi-samples",
)
def assets_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all but the optional.", show_default=False)] = None,
) -> None:
    """`soundflow assets fetch`."""
    from soundflow.pipeline.services import assets

    for row in assets.fetch(names or None, on_progress=say):
        say(row.describe())


@assets_app.command("verify", help="Hash every asset that is here again.", epilog="Example: soundflow assets verify --json")
def assets_verify(as_json: Json = False) -> None:
    """`soundflow assets verify`."""
    from soundflow.pipeline.services import assets

    rows = assets.verify()
    if as_json:
        say_json([row.to_json() for row in rows])
    else:
        for row in rows:
            say(row.describe())
    if any(row.state == "damaged" for row in rows):
        raise typer.Exit(FAILED)
