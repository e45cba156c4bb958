"""The language model of a recipe (`llm:`), the usage of its calls, and the errors that halt a run.

Only settings that shape answers enter the fingerprint of a corpus; the server, its retries and the budget do not.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from soundflow.schemas.base import Schema

RoleName = Literal[
    "scenario_planner", "event_refiner", "clip_verifier", "spoken_rewriter", "interpreter", "history_question",
    "history_answerer", "silence_auditor",
]  # fmt: skip
"""Each role has its own prompt, `prompts/ask_<role>.v1.j2`."""
ROLES: tuple[str, ...] = get_args(RoleName)
ModelName = Annotated[str, Field(min_length=1, max_length=200)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
MaxTokens = Annotated[int, Field(ge=16, le=131_072)]
JsonMode = Literal["json_schema", "json_lengths", "json_narrow", "json_object", "none"]


class Answering(Schema):
    """Settings that shape an answer, besides the prompt."""

    model: ModelName
    """Name of the model, as the server knows it."""
    temperature: Temperature = 0.7
    """Sampling temperature (the paper's, B.1)."""
    top_p: TopP = 1.0
    """Nucleus sampling: probability mass of the tokens that are sampled."""
    max_tokens: MaxTokens = 2048
    """Maximum number of tokens of one answer."""
    json_mode: JsonMode = "json_schema"
    """Constraint that the server enforces on answers. `json_schema`: the schema of the answer. `json_lengths`: the schema with
    length limits of texts, which OpenAI rejects and servers with grammars (llama.cpp) accept. `json_narrow`: a schema that allows
    only scenes of the bag in short texts, for models too small to follow rules. `json_object`: any JSON object. `none`: no
    constraint. Every answer is validated in any case."""
    send_seed: bool = False
    """Whether the sampling seed is sent; not every server accepts the field."""
    audio: bool = False
    """Whether the model accepts audio. The verifier then sends the clip along with its measurements."""


class RoleAnswering(Schema):
    """Settings of one role that override those of the `llm` section; null keeps the value of the section."""

    model: ModelName | None = None
    """Name of the model for this role."""
    temperature: Temperature | None = None
    """Sampling temperature for this role."""
    top_p: TopP | None = None
    """Nucleus sampling for this role: probability mass of the tokens that are sampled."""
    max_tokens: MaxTokens | None = None
    """Maximum number of tokens of one answer of this role."""
    json_mode: JsonMode | None = None
    """Constraint that the server enforces on answers of this role."""
    send_seed: bool | None = None
    """Whether the sampling seed is sent for this role."""
    audio: bool | None = None
    """Whether the model of this role accepts audio."""


def http_url(text: str) -> str:
    """Return the URL without a trailing slash. Raises ValueError if it is not an http(s) URL or contains secrets."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http(s) URL such as http://127.0.0.1:8080/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError("must not contain a user, password or query, since recipes are shared; keys come from the environment")
    return text.rstrip("/")


def environment_name(text: str) -> str:
    """Return the name of an environment variable for an API key. Raises ValueError for anything else."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise ValueError("must be the NAME of an environment variable, not the key itself")
    if not text.upper().endswith("API_KEY"):  # a recipe from elsewhere must not send any other secret to its server
        raise ValueError("must be the name of a variable that ends in API_KEY")
    return text


class LlmServer(Schema):
    """How the server is reached. These settings do not shape answers."""

    base_url: Annotated[str, AfterValidator(http_url)] | None = None
    """Address of an OpenAI-compatible server (default: $OPENAI_BASE_URL, else OpenAI)."""
    api_key_env: Annotated[str, AfterValidator(environment_name)] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. A server of your own may need none."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Maximum number of concurrent calls of one process."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Maximum number of calls per minute; null is no limit."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """Maximum number of tokens per minute; null is no limit."""
    timeout_seconds: float = Field(120.0, gt=0, le=3600)
    """Timeout of one call in seconds."""
    retries: int = Field(8, ge=0, le=100)
    """Retries after faults of the server or the connection."""
    backoff_seconds: float = Field(1.0, gt=0, le=60)
    """Pause before the first retry, in seconds. It doubles with each retry, up to a minute; the server's Retry-After takes
    precedence."""


class Price(Schema):
    """Price of a model per million tokens, in the currency of all prices and budgets."""

    input: float = Field(ge=0)
    """Price of input tokens."""
    output: float = Field(ge=0)
    """Price of output tokens."""


class Usage(Schema):
    """Number and cost of calls. `money` is 0 for models without a price."""

    calls: int = Field(0, ge=0)
    input_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(0, ge=0)
    money: float = Field(0.0, ge=0)

    @property
    def tokens(self) -> int:
        """Sum of input and output tokens."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            money=self.money + other.money,
        )

    def describe(self) -> str:
        """Return the usage as a short phrase."""
        return f"{self.calls} calls, {self.input_tokens} + {self.output_tokens} tokens, {self.money:.4f} money"


class LlmBudget(Schema):
    """Limits on all calls of a build; null is no limit. No call is made that could exceed them."""

    money: float | None = Field(None, ge=0)
    """Cost, in the currency of the prices."""
    calls: int | None = Field(None, ge=0)
    """Number of calls."""
    tokens: int | None = Field(None, ge=0)
    """Number of input and output tokens."""

    def passed_by(self, usage: Usage) -> str:
        """Return the first limit that `usage` exceeds, as text; empty if it exceeds none."""
        for name, limit, value in (
            ("money", self.money, usage.money),
            ("calls", self.calls, usage.calls),
            ("tokens", self.tokens, usage.tokens),
        ):
            if limit is not None and value > limit:
                return f"{name} {limit:g}"
        return ""


class RoleCost(Schema):
    """Usage of one role."""

    asked: Usage = Usage()  # a stored name
    """Answers from the server."""
    replayed: Usage = Usage()
    """Answers from the cache, at their original cost."""
    faults: int = Field(0, ge=0)
    """Number of calls without an answer."""
    unbilled: Usage = Usage()
    """Upper bound of what the server may have charged for interrupted calls, in addition to `asked`."""
    thoughts: int = Field(0, ge=0, exclude_if=lambda count: count == 0)
    """Number of answers that contained thoughts of the model, which are left out."""

    def __add__(self, other: RoleCost) -> RoleCost:
        return RoleCost(
            asked=self.asked + other.asked,
            replayed=self.replayed + other.replayed,
            faults=self.faults + other.faults,
            unbilled=self.unbilled + other.unbilled,
            thoughts=self.thoughts + other.thoughts,
        )


class LlmConfig(Answering):
    """The language model of a recipe."""

    roles: dict[RoleName, RoleAnswering] = Field(default_factory=dict)
    """Settings of single roles, such as another model."""
    server: LlmServer = LlmServer()
    """How the server is reached."""
    prices: dict[ModelName, Price] = Field(default_factory=dict)
    """Price of each model."""
    budget: LlmBudget = LlmBudget()
    """Limits on all calls of a build."""

    @model_validator(mode="after")
    def _priced(self) -> Self:
        unpriced = {self.answering(role).model for role in ROLES} - set(self.prices)
        if self.budget.money is not None and unpriced:
            raise ValueError(f"budget.money requires prices for {', '.join(sorted(unpriced))}; add them to prices")
        return self

    def answering(self, role: str) -> Answering:
        """Return the settings of `role`."""
        own = self.roles[role].model_dump(exclude_none=True) if role in self.roles else {}
        return Answering.model_validate(self.model_dump(include=set(Answering.model_fields)) | own)

    def shaping(self) -> dict[str, object]:
        """Return the settings that shape answers, for the fingerprint."""
        return self.model_dump(mode="json", exclude={"server", "prices", "budget"})

    def priced(self, model: str, usage: Usage) -> Usage:
        """Return `usage` with its cost at the prices of `model`."""
        price = self.prices.get(model, Price(input=0, output=0))
        money = (usage.input_tokens * price.input + usage.output_tokens * price.output) / 1e6
        return usage.model_copy(update={"money": money})


class Halted(Exception):
    """Raised when a run cannot call a service any more. Completed work is kept; the same call resumes the run."""

    remedy: str = ""
    """What the user has to do before resuming."""

    def message(self) -> str:
        """Return the error, the remedy and how to resume, as sentences."""
        return f"{self}. {self.remedy}. Completed work is kept; run the same command again to resume"


class BudgetSpent(Halted):
    """Raised before a call that could exceed the budget."""

    remedy = "Raise the budget in the recipe"


class ServiceBroken(Halted):
    """Raised when a service has stopped answering."""

    remedy = "Repair the service or configure another one in the recipe"


class ServiceUnreachable(ServiceBroken):
    """Raised when the address of a service has never answered: it is wrong, or the service is not running.

    If work was done before (`has_begun`), a command ends with exit code 3 and can be resumed; otherwise with 2.
    """

    def __init__(self, why: str, where: str, has_begun: bool = False):
        """`where`: what holds the address, such as `llm.server.base_url`."""
        super().__init__(why, where, has_begun)
        self.why, self.where, self.has_begun = why, where, has_begun
        self.remedy = f"Check {where}, and that the service is running"

    def __str__(self) -> str:
        return self.why

    def message(self) -> str:
        """Return the error and the remedy, and how to resume if work was done."""
        return super().message() if self.has_begun else f"{self}. {self.remedy}"

    def after(self, work: bool) -> ServiceUnreachable:
        """Return the error of a command that keeps the `work` it has done."""
        return ServiceUnreachable(self.why, self.where, self.has_begun or work)
