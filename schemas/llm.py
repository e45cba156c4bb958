"""The language model of a recipe (`llm:`): what shapes its answers, apart from what only operates it; and what it cost.

Only the shaping part enters a corpus' fingerprint: another server, more retries or a larger budget make the same corpus.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from soundflow.schemas.base import Schema

RoleName = Literal[
    "scenario_planner", "event_refiner", "clip_verifier", "spoken_rewriter", "interpreter", "history_question",
    "history_answerer", "silence_auditor",
]  # fmt: skip
"""Each has a prompt of its own: `prompts/ask_<role>.v1.j2`."""
ROLES: tuple[str, ...] = get_args(RoleName)
ModelName = Annotated[str, Field(min_length=1, max_length=200)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
MaxTokens = Annotated[int, Field(ge=16, le=131_072)]
JsonMode = Literal["json_schema", "json_lengths", "json_narrow", "json_object", "none"]


class Answering(Schema):
    """What shapes an answer, besides what is asked."""

    model: ModelName
    temperature: Temperature = 0.7
    """The paper's (B.1)."""
    top_p: TopP = 1.0
    max_tokens: MaxTokens = 2048
    """Of one answer."""
    json_mode: JsonMode = "json_schema"
    """What the server is asked to enforce: the answer's schema, any JSON object, or nothing. Every answer is checked by us.
    `json_lengths`: the schema with the lengths of texts. OpenAI refuses those; servers that turn a schema into a grammar
    (llama.cpp) take them, and a small model then neither says nothing nor repeats itself without end. `json_narrow`: for models
    that are too small to keep to rules. Scenes are written of what is in the bag and nothing else, as the sub-task answers it,
    in short texts; a large model writes better ones without it."""
    send_seed: bool = False
    """Send the sampling seed along; not every server knows the field."""
    audio: bool = False
    """The model listens: clips go along with the evidence about them."""


class RoleAnswering(Schema):
    """What one role does differently."""

    model: ModelName | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    json_mode: JsonMode | None = None
    send_seed: bool | None = None
    audio: bool | None = None


def http_url(text: str) -> str:
    """An address without secrets; ValueError says what is wrong."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http(s) URL such as http://127.0.0.1:8080/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError("must hold no user, password or query: recipes are copied; keys come from the environment")
    return text.rstrip("/")


def environment_name(text: str) -> str:
    """The name of a variable; ValueError when it looks like anything else."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise ValueError("must be the NAME of an environment variable, never the key itself")
    if not text.upper().endswith("API_KEY"):  # a recipe from elsewhere must not send any other secret to its server
        raise ValueError("must name a variable that ends in API_KEY")
    return text


class LlmServer(Schema):
    """How the model is reached; shapes nothing."""

    base_url: Annotated[str, AfterValidator(http_url)] | None = None
    """An OpenAI-compatible server; default: $OPENAI_BASE_URL, else OpenAI."""
    api_key_env: Annotated[str, AfterValidator(environment_name)] = "OPENAI_API_KEY"
    """The environment variable that holds the key. Servers of your own may do without one."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Calls in flight, of one process."""
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    timeout_seconds: float = Field(120.0, gt=0, le=3600)
    """Of one call from beginning to end."""
    retries: int = Field(8, ge=0, le=100)
    """After faults of the server or the line: busy, 5xx, silence, broken answers."""
    backoff_seconds: float = Field(1.0, gt=0, le=60)
    """Pause before the first retry; doubles each time, up to a minute. The server's own Retry-After goes first."""


class Price(Schema):
    """Money per million tokens, in whatever currency the whole table and the budget are in."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class Usage(Schema):
    """What calls cost. Money is 0 where no price is known."""

    calls: int = Field(0, ge=0)
    input_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(0, ge=0)
    money: float = Field(0.0, ge=0)

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            money=self.money + other.money,
        )

    def describe(self) -> str:
        """One short phrase."""
        return f"{self.calls} calls, {self.input_tokens} + {self.output_tokens} tokens, {self.money:.4f} money"


class LlmBudget(Schema):
    """What the calls of a build may cost in all; None is no limit. Nothing is asked that could pass it."""

    money: float | None = Field(None, ge=0)
    calls: int | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)

    def passed_by(self, usage: Usage) -> str:
        """The first limit that `usage` is above, in words; empty when it is above none."""
        for name, limit, value in (
            ("money", self.money, usage.money),
            ("calls", self.calls, usage.calls),
            ("tokens", self.tokens, usage.tokens),
        ):
            if limit is not None and value > limit:
                return f"{name} {limit:g}"
        return ""


class RoleCost(Schema):
    """What one role asked, and what it cost."""

    asked: Usage = Usage()
    """Answers of the server."""
    replayed: Usage = Usage()
    """Answers of the cache, at what they cost when they were asked."""
    faults: int = Field(0, ge=0)
    """Calls that brought no answer."""
    unbilled: Usage = Usage()
    """At most this much the server may have charged for calls that broke off, beyond `asked`."""

    def __add__(self, other: RoleCost) -> RoleCost:
        return RoleCost(
            asked=self.asked + other.asked,
            replayed=self.replayed + other.replayed,
            faults=self.faults + other.faults,
            unbilled=self.unbilled + other.unbilled,
        )


class LlmConfig(Answering):
    """The recipe's `llm:` section."""

    roles: dict[RoleName, RoleAnswering] = Field(default_factory=dict)
    """What single roles do differently, such as another model."""
    server: LlmServer = LlmServer()
    prices: dict[ModelName, Price] = Field(default_factory=dict)
    """By model."""
    budget: LlmBudget = LlmBudget()

    @model_validator(mode="after")
    def _priced(self) -> Self:
        unpriced = {self.answering(role).model for role in ROLES} - set(self.prices)
        if self.budget.money is not None and unpriced:
            raise ValueError(f"budget.money cannot be kept without prices for {', '.join(sorted(unpriced))}; add them to prices")
        return self

    def answering(self, role: str) -> Answering:
        """How `role` is answered."""
        own = self.roles[role].model_dump(exclude_none=True) if role in self.roles else {}
        return Answering.model_validate(self.model_dump(include=set(Answering.model_fields)) | own)

    def shaping(self) -> dict[str, object]:
        """The part that shapes answers, for the fingerprint."""
        return self.model_dump(mode="json", exclude={"server", "prices", "budget"})

    def priced(self, model: str, usage: Usage) -> Usage:
        """`usage` with the money it costs at `model`."""
        price = self.prices.get(model, Price(input=0, output=0))
        money = (usage.input_tokens * price.input + usage.output_tokens * price.output) / 1e6
        return usage.model_copy(update={"money": money})


class Halted(Exception):
    """Raised when a run cannot call a service any more. Completed work is kept; the same call resumes the run."""

    remedy: ClassVar[str] = ""
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
