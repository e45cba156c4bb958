"""The report of a run, and errors of damaged logs and directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundflow.schemas.base import InputError
from soundflow.training.logs import read_log
from soundflow.training.report import write_report
from tests.training.made import some_corpus
from tests.training.world import save_pico, stage


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from soundflow.training.distributed import Processes
    from soundflow.training.trainer import Trainer

    root, source = tmp_path_factory.mktemp("report"), some_corpus(shards=1, streams=2, longest=3)
    config = stage(steps=3, about="<b>what & why</b>")
    Trainer(config, source, save_pico(root / "start", source), root / "run", Processes(torch.device("cpu"))).train()
    return root / "run"


def test_the_page_shows_curves_and_configuration_and_needs_nothing_else(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    drawn = ("l_lm", "l_stream", "trigger_precision", "trigger_recall", "silence_share", "tokens_per_second", "mfu")
    assert page.count("<polyline") == 9 and all(f"<b>{name}</b>" in page for name in drawn)
    totals = ("L_LM", "L_stream", "trigger precision", "trigger recall", "tokens/s", "MFU, estimate")
    assert all(f"<dt>{name}</dt>" in page for name in totals) and "learning_rate" in page
    assert "&lt;b&gt;what &amp; why&lt;/b&gt;" in page and "<script" not in page and "http" not in page.split("</style>")[1]


def test_the_report_of_a_run_without_a_log_shows_its_configuration(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    page = write_report(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "steps of 3" in page and "learning_rate" in page and "<polyline" not in page


def test_tensorboard_has_every_figure_of_every_line(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    lines = read_log(run)
    assert len(lines) == 3
    for name in lines[0].model_dump(exclude={"step"}):
        logged = {line.step: getattr(line, name) for line in lines if getattr(line, name) is not None}
        shown = {event.step: event.value for event in board.Scalars(f"train/{name}")} if logged else {}
        assert shown == pytest.approx(logged, rel=1e-5), name


def test_a_folder_that_is_no_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run"):
        write_report(tmp_path)


def test_a_damaged_line_within_a_log_is_reported(run: Path, tmp_path: Path) -> None:
    lines = (run / "log.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_bytes(lines[0] + b"{}\n" + lines[1])
    with pytest.raises(InputError, match=r"log\.jsonl:2"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_bytes(lines[0] + lines[1][:20])
    assert [line.step for line in read_log(tmp_path)] == [1]
