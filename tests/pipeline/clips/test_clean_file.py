"""`soundflow tfjp` on files."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundflow.pipeline.clips.clean_file import clean_file
from soundflow.schemas.base import InputError


def test_a_recording_is_never_written_over_itself(tmp_path: Path) -> None:
    source, link = tmp_path / "a.wav", tmp_path / "b.wav"
    source.write_bytes(b"somebody's recording")
    link.symlink_to(source)
    for out in (source, link):
        with pytest.raises(InputError, match="is the recording itself"):
            clean_file(source, out)
    assert source.read_bytes() == b"somebody's recording"


def test_an_output_that_cannot_be_written_is_rejected_before_any_work(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    with pytest.raises(InputError, match=r"nowhere/b.wav: cannot be written: the folder does not exist"):
        clean_file(source, tmp_path / "nowhere" / "b.wav")
    with pytest.raises(InputError, match=r"p.xyz: does not have the suffix of an image format. Use .png"):
        clean_file(source, tmp_path / "b.wav", plot=tmp_path / "p.xyz")
