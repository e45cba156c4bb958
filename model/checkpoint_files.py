"""What is checked about the files of a checkpoint before any of them is interpreted. Imports no torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from soundflow.model.vocabulary import CHECKPOINT_REMEDY
from soundflow.schemas.base import InputError
from soundflow.schemas.checksums import SUMS, check_sums

DAMAGED_REMEDY: Final = "Write it again, or use another one"


def check_checkpoint(directory: Path) -> None:
    """Raise InputError if `directory` is not a checkpoint or one of its files differs from its `SHA256SUMS`.

    Checkpoints that another program wrote have no such file; they are accepted with a warning in the log.
    """
    if not check_sums(directory, DAMAGED_REMEDY):
        if not (directory / "config.json").is_file():
            raise InputError("is not a checkpoint (no config.json)", file=directory, remedy=CHECKPOINT_REMEDY)
        logging.getLogger(__name__).warning("checkpoint %s has no %s: its files cannot be verified", directory, SUMS)
