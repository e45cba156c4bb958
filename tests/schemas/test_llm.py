"""The `llm:` section: which settings shape answers, and that it contains no API keys."""

from __future__ import annotations

from typing import Any

import pytest

from soundflow.schemas.base import InputError
from soundflow.schemas.llm import ROLES, LlmBudget, LlmConfig, Price, RoleCost, Usage

KEY = "sk-proj-0123456789abcdef"


def config(**changes: Any) -> LlmConfig:
    return LlmConfig.model_validate({"model": "small"} | changes)


@pytest.mark.parametrize(
    "change",
    [
        {"server": {"base_url": "http://127.0.0.1:1/v1", "concurrency": 3, "retries": 0, "timeout_seconds": 9}},
        {"prices": {"small": {"input": 1, "output": 2}}},
        {"budget": {"calls": 5, "tokens": 1000}},
    ],
)
def test_operational_settings_are_not_in_the_fingerprint(change: dict[str, Any]) -> None:
    assert config(**change).shaping() == config().shaping()


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"temperature": 0.1},
        {"top_p": 0.5},
        {"max_tokens": 99},
        {"json_mode": "none"},
        {"send_seed": True},
        {"audio": True},
        {"roles": {"clip_verifier": {"model": "hears"}}},
    ],
)
def test_settings_that_shape_answers_are_in_the_fingerprint(change: dict[str, Any]) -> None:
    assert config(**change).shaping() != config().shaping()


def test_a_role_may_differ_in_some_things_and_keeps_the_rest() -> None:
    mixed = config(temperature=0.3, roles={"clip_verifier": {"model": "hears", "audio": True, "temperature": 0.0}})
    own, other = mixed.answering("clip_verifier"), mixed.answering("scenario_planner")
    assert (own.model, own.audio, own.temperature, own.top_p) == ("hears", True, 0.0, 1.0)
    assert (other.model, other.audio, other.temperature) == ("small", False, 0.3)
    assert config().temperature == 0.7  # the paper's


def test_a_budget_of_money_needs_the_price_of_every_model_in_use() -> None:
    with pytest.raises(ValueError, match="prices for hears"):
        config(budget={"money": 1}, prices={"small": {"input": 1, "output": 1}}, roles={"clip_verifier": {"model": "hears"}})
    priced = config(budget={"money": 1}, prices={"small": {"input": 1, "output": 3}})
    assert priced.priced("small", Usage(calls=1, input_tokens=1_000_000, output_tokens=2_000_000)).money == 7.0
    assert priced.priced("unknown", Usage(calls=1, input_tokens=5)).money == 0.0


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (f"model: m\napi_key: {KEY}", "unknown field"),
        (f"model: m\nserver: {{api_key: {KEY}}}", 'Did you mean "api_key_env"'),
        (f"model: m\nserver: {{api_key_env: {KEY}}}", "not the key itself"),
        (f"model: m\nserver: {{base_url: 'https://user:{KEY}@host/v1'}}", "keys come from the environment"),
        (f"model: m\nserver: {{base_url: 'https://host/v1?key={KEY}'}}", "keys come from the environment"),
    ],
)
def test_an_api_key_in_a_recipe_is_rejected_without_being_shown(section: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        LlmConfig.from_text(section, file="recipe.yaml")
    assert KEY not in str(caught.value) and KEY not in repr(caught.value)


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("temperature: 0.7", "model"),
        ("model: m\nroles: {clip_verifer: {temperature: 0}}", "roles.clip_verifer"),
        ("model: m\nserver: {base_url: 'ftp://host'}", "server.base_url"),
        ("model: m\nserver: {concurrency: 0}", "server.concurrency"),
        ("model: m\nserver: {api_key_env: AWS_SECRET_ACCESS_KEY}", "server.api_key_env"),
        ("model: m\nbudget: {money: .nan}", "budget.money"),
    ],
)
def test_an_error_names_the_field(section: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        LlmConfig.from_text(section, file="recipe.yaml")
    assert caught.value.field.startswith(field)


def test_costs_add_up_and_a_budget_names_the_exceeded_limit() -> None:
    one = Usage(calls=1, input_tokens=10, output_tokens=5, money=0.25)
    assert one + one == Usage(calls=2, input_tokens=20, output_tokens=10, money=0.5) and (one + one).tokens == 30
    both = RoleCost(asked=one, faults=1) + RoleCost(replayed=one, unbilled=one)
    assert both == RoleCost(asked=one, replayed=one, faults=1, unbilled=one)
    assert LlmBudget().passed_by(one) == "" and LlmBudget(money=0.25, calls=1, tokens=15).passed_by(one) == ""
    assert LlmBudget(tokens=14).passed_by(one) == "tokens 14" and LlmBudget(calls=0).passed_by(one) == "calls 0"


def test_every_role_can_be_configured() -> None:
    assert set(LlmConfig.model_validate({"model": "m", "roles": {role: {} for role in ROLES}}).roles) == set(ROLES)


def test_a_price_is_never_negative() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Price(input=-1, output=0)
