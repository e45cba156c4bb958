"""`soundflow tfjp` on files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.clean_file import clean_file
from schemas.base import InputError


def test_a_recording_is_never_written_over_itself(tmp_path: Path) -> None:
    source, link = tmp_path / "a.wav", tmp_path / "b.wav"
    source.write_bytes(b"somebody's recording")
    link.symlink_to(source)
    for out in (source, link):
        with pytest.raises(InputError, match="is the recording itself"):
            clean_file(source, out)
    assert source.read_bytes() == b"somebody's recording"
