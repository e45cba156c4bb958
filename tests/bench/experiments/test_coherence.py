"""What bench/experiments/coherence measures is measured right, by knowledge that is not the planners'."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from soundflow.bench.experiments import coherence
from soundflow.bench.experiments import sounds as _sounds
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.schemas.llm import LlmConfig
from tests.support.hostile_llm import HostileLlm

POOL = coherence.LabelPool(_sounds.SETS[_sounds.PUBLIC])


def test_the_scorer_shares_no_table_with_the_planners() -> None:
    for module in (_sounds, coherence):
        source = Path(module.__file__ or "").read_text()
        assert not re.search(r"places_of|prompts\.|import prompts|urgency|label_words", source.partition('"""\n\n')[2])


def test_a_coherent_scene_breaks_no_rule_and_each_rule_is_broken_by_its_own_scene() -> None:
    fine = [("foreground", "door knock"), ("foreground", "speech"), ("background", "keyboard typing"), ("ambient", "rain")]
    assert coherence.violations(fine).total() == 0
    assert coherence.violations([*fine, ("background", "siren")]) == {
        "setting conflict": 1,
        "exclusive overlap": 1,
        "role misuse": 0,
    }
    assert coherence.violations([*fine, ("foreground", "sea waves")])["setting conflict"] == 1
    assert coherence.violations([*fine, ("ambient", "dishes")])["role misuse"] == 1
    assert coherence.violations([*fine, ("ambient", "")]).total() == 0, "what is not known breaks nothing"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a baby cries", ""),
        ("baby crying loudly", "crying baby"),
        ("rainy evening", ""),
        ("dogs barking", "dog"),
        ("a car horn", "car horn"),
    ],
)
def test_free_words_name_a_class_or_none(text: str, label: str) -> None:
    assert _sounds.known(text) == label


def test_the_template_planner_breaks_at_most_a_fifth_of_the_rules_a_random_one_breaks() -> None:
    template, random = (coherence.score(planner, POOL, 120) for planner in ("template", "random"))
    assert random.broken.total() > 120 and template.broken.total() * 5 <= random.broken.total()


def test_a_models_plans_are_scored_and_asked_for_once(tmp_path: Path) -> None:
    with HostileLlm() as server:
        config = LlmConfig(model="m", server=server.settings())
        results = [asyncio.run(coherence.score_model(config, POOL, 6, AnswerCache(tmp_path))) for _ in range(2)]
        assert server.calls <= 12 and max(server.answered.values()) == 1
    assert results[0] == results[1] and results[0]["scenes"] + sum(results[0]["refused"].values()) == 6
    assert set(results[0]["violations per 100 scenes"]) == {
        "setting conflict",
        "exclusive overlap",
        "role misuse",
        "all",
        "all per 100 events",
    }


def test_without_a_model_the_benchmark_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coherence, "SCENES", 20)
    coherence.main(["--runs", "1"])
    assert "not run: add --model" in capsys.readouterr().out
