"""The page of a run, and what a damaged log or folder says."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.base import InputError
from tests.training.made import some_corpus
from tests.training.world import save_pico, stage
from training.logs import read_log
from training.report import write_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from training.distributed import Processes
    from training.trainer import Trainer

    root, source = tmp_path_factory.mktemp("report"), some_corpus(shards=1, streams=2, longest=3)
    config = stage(steps=3, about="<b>what & why</b>")
    Trainer(config, source, save_pico(root / "start", source), root / "run", Processes(torch.device("cpu"))).train()
    return root / "run"


def test_the_page_shows_curves_and_configuration_and_needs_nothing_else(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert page.count("<polyline") >= 6 and "l_stream" in page and "learning_rate" in page
    assert "&lt;b&gt;what &amp; why&lt;/b&gt;" in page and "<script" not in page and "http" not in page.split("</style>")[1]


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run"):
        write_report(tmp_path)


def test_a_damaged_line_in_the_middle_of_a_log_is_told(run: Path, tmp_path: Path) -> None:
    lines = (run / "log.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_bytes(lines[0] + b"{}\n" + lines[1])
    with pytest.raises(InputError, match=r"log\.jsonl:2"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_bytes(lines[0] + lines[1][:20])
    assert [line.step for line in read_log(tmp_path)] == [1]
