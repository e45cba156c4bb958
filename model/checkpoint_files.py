"""What is checked about the files of a checkpoint before any of them is interpreted. Imports no torch."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import Final

from soundflow.model.vocabulary import CHECKPOINT_REMEDY
from soundflow.schemas.base import InputError
from soundflow.schemas.checksums import SUMS, check_sums
from soundflow.schemas.documents import parse_json

DAMAGED_REMEDY: Final = "Write it again, or use another one"
_LISTED: Final = (".json", ".safetensors")
"""Suffixes of the files that a checkpoint is loaded from: configurations, weights and their index."""


def checkpoint_files(directory: Path) -> list[Path]:
    """Return the files of a checkpoint that its `SHA256SUMS` has to list, in the order of their names."""
    return sorted(path for path in directory.iterdir() if path.suffix in _LISTED and not path.name.startswith("."))


def check_checkpoint(directory: Path) -> None:
    """Raise InputError if `directory` is not a checkpoint, or a file of it is not the one that its `SHA256SUMS` lists.

    A streaming model without this file is rejected: `StreamingThinker.save` writes one. Checkpoints that another program wrote
    have none; they are accepted with a warning in the log.
    """
    listed = check_sums(directory, DAMAGED_REMEDY)
    if not (directory / "config.json").is_file():
        raise InputError("is not a checkpoint (no config.json)", file=directory, remedy=CHECKPOINT_REMEDY)
    list_again = f"(cd {shlex.quote(str(directory))} && sha256sum *.json *.safetensors > {SUMS})"
    remedy = f"Copy the checkpoint again. If you trust its files, list them: {list_again}"
    if listed:
        unlisted = [path for path in checkpoint_files(directory) if path.name not in listed]
        if unlisted:
            raise InputError(f"is not listed in {SUMS}, so that damage to it would not be found", file=unlisted[0], remedy=remedy)
    elif _is_streaming_model(directory / "config.json"):
        raise InputError(f"the checkpoint has no {SUMS}, so that damage to it would not be found", file=directory, remedy=remedy)
    else:
        logging.getLogger(__name__).warning("checkpoint %s has no %s: its files cannot be verified", directory, SUMS)


def _is_streaming_model(config: Path) -> bool:
    try:
        document = parse_json(config.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"the checkpoint is damaged: {error}", file=config, remedy=DAMAGED_REMEDY) from None
    return isinstance(document, dict) and "soundflow" in document
