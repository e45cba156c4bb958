"""Decisions of manifest, recipe and taxonomy: who comes first, and what a label or pattern of a recipe matches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from soundflow.schemas.base import InputError
from soundflow.schemas.decision import Decided, DecisionRules, DecisionSource, danger_of, decision_of
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.taxonomy import Task, Urgency

R, IGN, B = Urgency.RESPOND, Urgency.IGNORE, Urgency.BORDERLINE


DOCUMENT = {"clips": "x", "streams": 1, "shards": 1, "tasks": {"event_description": 1}}


def sound(label: str, caption: str = "", decision: Urgency | None = None) -> SimpleNamespace:
    return SimpleNamespace(label=label, caption=caption, decision=decision)


def recipe(taxonomy: object) -> Recipe:
    return Recipe.model_validate(DOCUMENT | {"taxonomy": taxonomy})


def test_the_manifest_comes_before_the_recipe_and_the_recipe_before_the_taxonomy() -> None:
    rules = DecisionRules({"siren": IGN})
    assert rules.decide(sound("siren", decision=B)) == Decided(B, DecisionSource.MANIFEST)
    assert rules.decide(sound("siren", "a loud siren")) == Decided(IGN, DecisionSource.RECIPE)
    assert rules.decide(sound("thunder")) == Decided(R, DecisionSource.TAXONOMY)
    assert decision_of(sound("siren", decision=IGN)) is IGN and decision_of(sound("siren")) is R


def test_a_danger_follows_from_the_decision() -> None:
    assert danger_of(sound("siren")) is Task.TRAFFIC_DANGER
    assert danger_of(sound("siren", decision=IGN)) is None
    assert danger_of(sound("baby", decision=R)) is Task.HUMAN_DISTRESS
    assert danger_of(sound("kettle", decision=R)) is None


@pytest.mark.parametrize(
    ("rules", "label", "found"),
    [
        ({"dog bark": R}, "Dog_Bark-03", R),
        ({"Dog_Bark": R}, "dog bark", R),
        ({"dog bark": R}, "dog barks", None),
        ({"dog*": R}, "dog barks", R),
        ({"*whistle": R}, "KettleWhistle", R),
        ({"*whistle": R}, "whistle blower", None),
        ({"do? bark": R}, "dog bark", R),
        ({"do? bark": R}, "doo-dog bark", None),
        ({"dog*": R, "dog bark": IGN}, "dog bark", IGN),
        ({"*": B, "dog*": R}, "dog bark", R),
        ({"*": B, "dog*": R}, "owl", B),
        ({"d*": IGN, "*bark": R}, "dog bark", R),
        ({"犬": R}, "犬", R),
        ({"a.c": R}, "abc", None),
    ],
)
def test_labels_and_patterns(rules: dict[str, Urgency], label: str, found: Urgency | None) -> None:
    assert DecisionRules(rules).find(label) is found
    assert DecisionRules(dict(reversed(rules.items()))).find(label) is found


def test_labels_and_patterns_without_a_match_are_listed() -> None:
    rules = DecisionRules({"dog bark": R, "kettel": R, "do*": IGN, "*whistle": IGN})
    assert rules.unmatched(["DogBark", "owl"]) == ["*whistle", "kettel"]


def test_a_recipe_says_what_is_wrong_with_its_taxonomy() -> None:
    for taxonomy, message in (
        ({"siren": "repond"}, r"taxonomy\.siren: Input should be 'respond', 'ignore' or 'borderline' \(got 'repond'\)"),
        ({" - ": "respond"}, r"taxonomy: is not a label or a pattern of labels"),
        ({"Dog_Bark": "respond", "dog bark": "ignore"}, r"taxonomy: the labels 'Dog_Bark' and 'dog bark' are compared alike"),
    ):
        with pytest.raises(InputError, match=message):
            Recipe.from_text(yaml.safe_dump(DOCUMENT | {"taxonomy": taxonomy}))


def test_an_empty_taxonomy_changes_no_fingerprint_and_any_other_does() -> None:
    plain, owned = recipe({}).shaping(), recipe({"siren": "ignore"}).shaping()
    assert "taxonomy" not in plain and owned["taxonomy"] == {"siren": "ignore"}


@pytest.mark.parametrize(
    ("pattern", "finds", "not_these"),
    [
        ("kettle_03*", ["Kettle_03_boiling", "kettle", "kettles"], ["ket", "old kettle"]),
        ("DogBark*", ["dog bark", "Dog_Barking"], ["dogbark", "dog"]),
        ("dog *", ["dog bark"], ["dog", "doghouse"]),
        ("*whistle", ["train whistle", "whistle"], ["whistle blow"]),
        ("do?", ["dog"], ["do", "door"]),
        ("狗*", ["狗叫", "狗"], ["小狗"]),
        ("[ab]*", ["ab siren"], ["a siren"]),
        ("80*", ["808", "80"], ["siren", "909"]),
        ("*", ["siren", "808"], []),
    ],
)
def test_a_pattern_is_compared_by_its_words(pattern: str, finds: list[str], not_these: list[str]) -> None:
    rules = DecisionRules({pattern: R})
    assert [label for label in finds if rules.find(label) is not R] == []
    assert [label for label in not_these if rules.find(label) is R] == []
