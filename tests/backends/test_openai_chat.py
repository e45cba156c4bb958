"""The chat model against a server that misbehaves: the type, retries and bill of every fault."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import logging
import pickle
import traceback
from typing import Any

import pytest

from soundflow.backends.calls.http_errors import retry_after
from soundflow.backends.llm.openai_chat import OpenAiChat
from soundflow.operators.protocols.chat import AudioAttachment, Completion, Message
from soundflow.operators.protocols.faults import RequestRefused, ServerFault
from soundflow.schemas.base import InputError
from soundflow.schemas.llm import BudgetSpent, LlmConfig, RoleCost, ServiceUnreachable, Usage
from tests.operators.curate.chats import KEY, complete, config, key, request_for, with_chat
from tests.support.hostile_llm import BAD_ANSWERS, TRANSIENT, Fault, HostileLlm, always, faulty, once

__all__ = ["key"]
BILLED = Usage(calls=1, input_tokens=100, output_tokens=50, money=0.0002)
NEVER_CHARGED = {
    Fault.BUSY, Fault.BUSY_SECONDS, Fault.BUSY_DATE, Fault.ERROR_500, Fault.ERROR_503_SECONDS, Fault.HUGE_ERROR,
}  # fmt: skip


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_transient_fault_is_retried_and_counts_the_most_it_can_have_cost(fault: Fault) -> None:
    with HostileLlm(once(fault)) as server:
        settings = config(server)
        chat, request = OpenAiChat(settings), request_for(settings)
        answer = complete(chat, request)
    assert isinstance(answer, Completion) and answer.finish == "stop" and answer.usage == BILLED
    assert server.calls == 2 and server.faults == {fault: 1}
    cost = chat.ledger.roles["spoken_rewriter"]
    worst = settings.priced("m", request.worst())
    assert (cost.asked, cost.faults) == (BILLED, 1)
    assert cost.unbilled == (Usage() if fault in NEVER_CHARGED else worst)
    assert chat.meter.state().spent + chat.meter.state().unbilled == cost.asked + cost.unbilled


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_a_call_past_its_deadline_is_cancelled_and_retried(fault: Fault) -> None:
    with HostileLlm(once(fault)) as server:
        answer = complete(OpenAiChat(settings := config(server, {"timeout_seconds": 0.3})), request_for(settings))
    assert isinstance(answer, Completion) and server.calls == 2


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.NO_CHOICES, Fault.BUSY, Fault.HUGE_ERROR])
def test_a_permanent_fault_is_raised_after_the_retries(fault: Fault) -> None:
    with HostileLlm(always(fault)) as server:
        error = complete(OpenAiChat(settings := config(server, {"retries": 3})), request_for(settings))
    assert isinstance(error, ServerFault) and server.calls == 4


def test_an_unreachable_server_charges_nothing_and_is_named_with_its_address() -> None:
    with HostileLlm() as server:
        pass
    chat = OpenAiChat(settings := config(server, {"retries": 1}))
    error = complete(chat, request_for(settings))
    assert isinstance(error, ServiceUnreachable) and "cannot be reached" in str(error) and server.url in str(error)
    assert chat.ledger.roles["spoken_rewriter"] == RoleCost(faults=2)


def test_an_address_that_never_answered_is_retried_only_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundflow.backends.calls.metered_call.STARTING_SECONDS", 0.1)
    with HostileLlm() as server:
        pass
    chat = OpenAiChat(settings := config(server, {"retries": 100, "backoff_seconds": 0.06}))
    assert isinstance(complete(chat, request_for(settings)), ServiceUnreachable)
    assert chat.ledger.roles["spoken_rewriter"].faults < 6


def test_a_server_that_disappears_is_a_server_fault() -> None:
    server = HostileLlm().__enter__()
    chat = OpenAiChat(config(server, {"retries": 2}))

    async def two(chat: OpenAiChat) -> Any:
        first = await chat.complete(request_for(chat.config))
        await asyncio.to_thread(server.__exit__, None, None, None)
        with pytest.raises(ServerFault) as caught:
            await chat.complete(request_for(chat.config, seed=1))
        return first, caught.value

    first, fault = with_chat(chat, two)
    assert isinstance(first, Completion) and "cannot be reached" in str(fault)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault.UNAUTHORIZED, "rejects the API key.*Check OPENAI_API_KEY"),
        (Fault.NO_MODEL, "does not know this address or model"),
        (Fault.NO_QUOTA, "does not serve this account.*quota"),
    ],
)
def test_errors_of_configuration_are_raised_without_a_retry(fault: Fault, why: str) -> None:
    with HostileLlm(always(fault)) as server:
        error = complete(OpenAiChat(settings := config(server)), request_for(settings))
        assert server.calls == 1
    with pytest.raises(InputError, match=why):
        raise error


def test_a_refused_request_is_an_error_of_that_request_only() -> None:
    with HostileLlm(always(Fault.TOO_LONG)) as server:
        error = complete(OpenAiChat(settings := config(server)), request_for(settings))
    assert isinstance(error, RequestRefused) and "too many tokens" in str(error) and server.calls == 1


def test_a_retry_after_of_a_day_is_not_awaited() -> None:
    with HostileLlm(always(Fault.BUSY_FOR_EVER)) as server:
        error = complete(OpenAiChat(settings := config(server)), request_for(settings))
    assert isinstance(error, ServerFault) and error.retry_after == 86_400 and server.calls == 1


def test_both_forms_of_retry_after_are_parsed_and_invalid_ones_ignored() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    found = retry_after(email.utils.format_datetime(soon, usegmt=True))
    assert found is not None and 60 < found < 91
    assert retry_after("2.5") == 2.5 and retry_after("0") == 0.0
    assert retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == 0.0 == retry_after("-3")
    assert {retry_after(text) for text in ("soon", "nan", "inf", "1e300", "", "99 Foo 2001")} == {None}
    assert retry_after(None) is None


def test_retry_after_pauses_the_meter() -> None:
    with HostileLlm(once(Fault.BUSY_SECONDS)) as server:
        chat = OpenAiChat(settings := config(server))
        assert isinstance(complete(chat, request_for(settings)), Completion)
    assert chat.meter.state().not_before > 0


def test_no_more_calls_are_in_flight_than_allowed() -> None:
    with HostileLlm(latency_seconds=0.02) as server:
        settings = config(server, {"concurrency": 3})

        async def use(chat: OpenAiChat) -> list[Completion]:
            return await asyncio.gather(*(chat.complete(request_for(settings, seed=seed)) for seed in range(20)))

        assert len(with_chat(OpenAiChat(settings), use)) == 20
    assert server.most_open <= 3


@pytest.mark.parametrize("limit", [{"calls": 7}, {"tokens": 4_000}, {"money": 0.004}])
def test_no_number_of_concurrent_calls_exceeds_the_budget(limit: dict[str, float]) -> None:
    with HostileLlm(faulty(0.3, (Fault.NO_CHOICES, Fault.RESET, Fault.HUGE)), latency_seconds=0.005) as server:
        settings = config(server, {"concurrency": 32}, budget=limit)
        chat = OpenAiChat(settings)

        async def use(opened: OpenAiChat) -> list[Any]:
            calls = (opened.complete(request_for(settings, "x", seed=seed)) for seed in range(60))
            return await asyncio.gather(*calls, return_exceptions=True)

        outcomes = with_chat(chat, use)
    state = chat.meter.state()
    assert settings.budget.passed_by(state.spent + state.unbilled) == "" and not state.open
    assert {type(outcome) for outcome in outcomes} == {Completion, BudgetSpent}
    assert 0 < state.spent.calls <= server.calls and server.calls == state.spent.calls + state.unbilled.calls
    served = server.calls  # a server charges for all it served, whether it arrived or not
    real = Usage(calls=served, input_tokens=100 * served, output_tokens=50 * served, money=0.0002 * served)
    assert settings.budget.passed_by(real) == ""


def test_a_cancelled_call_counts_in_full() -> None:
    with HostileLlm(always(Fault.HANG)) as server:
        chat, request = OpenAiChat(settings := config(server)), request_for(settings := config(server))

        async def use(opened: OpenAiChat) -> None:
            task = asyncio.create_task(opened.complete(request))
            while not server.calls:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

        with_chat(chat, use)
    assert chat.meter.state().unbilled == settings.priced("m", request.worst()) and not chat.meter.state().open


def test_a_missing_usage_counts_as_the_most_a_call_can_use() -> None:
    with HostileLlm(always(Fault.NO_USAGE)) as server:
        request = request_for(settings := config(server))
        answer = complete(OpenAiChat(settings), request)
    assert answer.usage == settings.priced("m", request.worst())


@pytest.mark.parametrize(("fault", "finish"), [(Fault.CUT_OFF, "length"), (Fault.REFUSED, "refused")])
def test_the_reason_an_answer_ended_is_returned(fault: Fault, finish: str) -> None:
    with HostileLlm(always(fault)) as server:
        answer = complete(OpenAiChat(settings := config(server)), request_for(settings))
    assert answer.finish == finish and server.calls == 1


def test_clips_are_sent_as_input_audio() -> None:
    with HostileLlm() as server:
        request = request_for(settings := config(server), messages=(Message("user", "hear", (AudioAttachment(b"RIFF..."),)),))
        complete(OpenAiChat(settings), request)
    (body,) = server.seen
    assert '{"input_audio": {"data": "UklGRi4uLg==", "format": "wav"}, "type": "input_audio"}' in body


def test_the_key_is_in_the_call_and_nowhere_else(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    kinds = (*TRANSIENT, *BAD_ANSWERS, Fault.UNAUTHORIZED, Fault.NO_MODEL, Fault.NO_QUOTA, Fault.TOO_LONG, Fault.QUOTES_KEY)
    outputs: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for fault in kinds:
            with HostileLlm(always(fault)) as server:
                chat = OpenAiChat(settings := config(server, {"retries": 1}))
                outcome = complete(chat, request_for(settings))
                outputs += [repr(outcome), str(outcome), repr(chat), repr(vars(chat)), repr(chat.ledger.roles)]
                if isinstance(outcome, Exception):
                    chain = traceback.TracebackException.from_exception(outcome, capture_locals=True)
                    outputs += [*chain.format(), repr(pickle.dumps(outcome))]
                    assert outcome.__context__ is None and outcome.__cause__ is None
                assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    outputs += [record.getMessage() + repr(record.args) for record in caplog.records] + list(capfd.readouterr())
    assert len(outputs) > 100 and not [text for text in outputs if KEY in text or KEY[8:] in text]


def test_openai_is_not_called_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    error = complete(OpenAiChat(settings := LlmConfig(model="m")), request_for(settings))
    assert isinstance(error, InputError) and "OPENAI_API_KEY is not set" in str(error)


def test_a_server_of_ones_own_needs_no_key_and_may_be_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with HostileLlm() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        settings = LlmConfig(model="m")
        assert isinstance(complete(OpenAiChat(settings), request_for(settings)), Completion)


def test_a_malformed_key_is_an_error_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\nsk-other")
    error = complete(OpenAiChat(settings := LlmConfig(model="m")), request_for(settings))
    assert isinstance(error, InputError) and "sk-secret" not in str(error)


def test_calls_outside_the_async_context_are_refused() -> None:
    async def use() -> None:
        await OpenAiChat(settings := LlmConfig(model="m")).complete(request_for(settings))

    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(use())
