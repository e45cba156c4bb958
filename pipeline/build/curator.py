"""Shards become committed scene sheets: planning, apart from rendering. One curator serves a whole build, so its limits hold.

Kill-safe: a sheet is linked into place whole, the first wins; what a model answered before is in the answer cache and never
asked again; clips that were made are content-addressed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from soundflow.backends.asr.speech_gate import SPEECH_GATE_VERSION, SpeechGate
from soundflow.backends.calls.metering import CostLedger
from soundflow.backends.embed.server import EmbeddingError
from soundflow.operators.compose.clips import Palette
from soundflow.operators.curate.curation import CURATION_VERSION, curate
from soundflow.operators.curate.grounding import Tools
from soundflow.operators.curate.planning import weights_of
from soundflow.operators.curate.verifying import VERIFYING_VERSION, verifier_of
from soundflow.operators.protocols.asking import ASKING_VERSION
from soundflow.operators.protocols.chat import ChatModel
from soundflow.operators.protocols.embedding import AudioEmbedder, CachedEmbed
from soundflow.operators.tasks import POLICIES
from soundflow.pipeline.build.worker import MAX_FAILED_FRACTION, Job, ShardFailedError, ShardResult
from soundflow.pipeline.clips.index import ClipIndex
from soundflow.pipeline.clips.search_index import SearchIndex
from soundflow.pipeline.corpus.commit import write_file, write_if_absent
from soundflow.pipeline.curate.scenes import ATTEMPTS, EMBEDDER, pool_of
from soundflow.pipeline.services.answer_cache import AnswerCache
from soundflow.pipeline.services.chat import open_chat
from soundflow.pipeline.services.generators import open_generator
from soundflow.prompts import role_hash
from soundflow.schemas.atomic_file import NO_SPACE
from soundflow.schemas.base import InputError, canonical_json
from soundflow.schemas.identity import rng_for
from soundflow.schemas.llm import BudgetSpent, Halted, RoleCost
from soundflow.schemas.outcome import Failed, Ok
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.sheet import CuratedSample, Curation, SceneSheet

AHEAD: Final = 2
"""Samples in work for each call that may be in flight: one waits for an answer while another is judged."""
HOPELESS: Final = 12
"""Tries of one request, in at least two rounds, while others are answered."""
T = TypeVar("T")

_shard_ledger: contextvars.ContextVar[CostLedger | None] = contextvars.ContextVar("shard ledger", default=None)


class _SplitLedger(CostLedger):
    """Counts for the whole process, and for the shard in whose name is asked."""

    def _add(self, role: str, cost: RoleCost) -> None:
        super()._add(role, cost)
        ledger = _shard_ledger.get()
        if ledger is not None:
            ledger._add(role, cost)


@dataclass(slots=True)
class Curator:
    """Curates shards of one job; many samples, of several shards, at once in one event loop. Made by `curating`."""

    job: Job
    palette: Palette
    chat: ChatModel
    tools: Tools
    room: asyncio.Semaphore
    """Samples in work at once."""
    on_sample: Callable[[], None]

    async def sheet(self, shard: int) -> SceneSheet:
        """The committed sheet of a shard, curated if there is none yet.

        Raises Halted, InputError (key, model), OSError (the disk is full), and ShardFailedError when most samples broke.
        """
        build = self.job.build
        kept = build.sheet(shard, self.job.fingerprint)
        if kept is not None:
            return kept
        ledger = CostLedger()
        _shard_ledger.set(ledger)
        samples = await self.samples([(shard, index) for index in range(self.job.recipe.shard_sizes()[shard])])
        broken = [sample.failed for sample in samples if sample.failed]
        if len(broken) > MAX_FAILED_FRACTION * len(samples):
            raise ShardFailedError(f"{len(broken)} of {len(samples)} scenes broke, the first: {broken[0]}")
        sheet = SceneSheet(fingerprint=self.job.fingerprint, shard=shard, samples=tuple(samples), work=ledger.roles)
        path = build.sheet_path(shard)
        if not write_if_absent(build, path, sheet.canonical_json()) and build.sheet(shard, self.job.fingerprint) is None:
            write_file(build, path, sheet.canonical_json())  # what was there counted for nothing
        committed = build.sheet(shard, self.job.fingerprint)
        assert committed is not None
        return committed

    async def samples(self, places: Sequence[tuple[int, int]]) -> list[CuratedSample]:
        """Curate samples, (shard, index) each, many at once; raises as `sheet` does.

        Those a service failed are curated again when the others are done. A service that works (`backends.calls.guard`) and
        has still not answered after `HOPELESS` tries does not answer this request: such a sample broke like any other.
        """
        curated = dict(zip(places, await _all(self._sample(*place) for place in places), strict=True))
        fewest = 1 + min(self.job.recipe.generation.server.retries, self.chat.config.server.retries)
        for _ in range(max(1, -(-HOPELESS // fewest) - 1)):
            again = [place for place, (_, of_service) in curated.items() if of_service]
            curated |= dict(zip(again, await _all(self._sample(*place) for place in again), strict=True))
        return [sample for sample, _ in curated.values()]

    async def _sample(self, shard: int, index: int) -> tuple[CuratedSample, bool]:
        """A sample, and whether it is not there because a service failed."""
        async with self.room:
            curations: list[Curation] = []
            for attempt in range(ATTEMPTS):
                rng = rng_for(self.job.fingerprint, shard, index, "curation", attempt)
                try:
                    outcome = await curate(self.job.recipe, self.palette, self.chat, self.tools, rng)
                except (Halted, InputError, MemoryError):
                    raise
                except Exception as error:
                    if isinstance(error, OSError) and error.errno in NO_SPACE:
                        raise
                    told = {"traceback": traceback.format_exc()}
                    of_service = isinstance(error, EmbeddingError)
                    outcome = Failed(f"{type(error).__name__}: {error}", "curation", told, of_service=of_service)
                if not isinstance(outcome, Ok):
                    failed = outcome if isinstance(outcome, Failed) else Failed(str(outcome), "curation")
                    payload = {"attempt": attempt, **failed.payload}
                    sample = CuratedSample(index=index, curations=tuple(curations), failed=failed.error, payload=payload)
                    return sample, failed.of_service
                curations.append(outcome.value)
                if outcome.value.scene is not None:
                    break
            self.on_sample()
            return CuratedSample(index=index, curations=tuple(curations)), False


async def _all(work: Iterator[Awaitable[T]]) -> list[T]:
    """Every result in order. What fails does not break off the others, which may have been paid for; then it is raised."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    # A wrong key says more than a broken service, and that more than a spent budget.
    fatal = sorted(errors, key=lambda error: (isinstance(error, Halted), isinstance(error, BudgetSpent)))
    if fatal:
        raise fatal[0]
    return [result for result in results if not isinstance(result, BaseException)]


async def scenes_or_failure(curator: Curator, shard: int) -> ShardResult | None:
    """Commit the scenes of a shard; the result says why there are none. Raises Halted and InputError: they end the build."""
    try:
        await curator.sheet(shard)
    except (Halted, InputError):
        raise
    except Exception as error:
        fatal = isinstance(error, OSError) and error.errno in NO_SPACE
        return ShardResult(shard, None, f"{type(error).__name__}: {error}", traceback.format_exc(), fatal)
    return None


@contextlib.asynccontextmanager
async def curating(job: Job, on_sample: Callable[[], None] = lambda: None) -> AsyncIterator[Curator]:
    """The curator of a job; needs no key and no server for what was asked before. `on_sample` is told of each sample done.

    Raises InputError when the embedder here is not the one the build was begun with.
    """
    recipe, config = job.recipe, job.recipe.llm
    assert config is not None, "recipes without a language model are not curated"
    index = ClipIndex.open(job.clips)
    pool = pool_of(job.build, index)
    pool.made.sweep()
    answers, ledger = AnswerCache(job.answers), _SplitLedger()
    retriever = SearchIndex.open(index.directory, recipe.retrieval, content_hash=index.content_hash, ledger=ledger)
    if retriever.identity != job.curators[EMBEDDER]:
        raise InputError(
            f"the embedder here is {retriever.identity}, the build's is {job.curators[EMBEDDER]}",
            field="retrieval.embedder",
            remedy="Name the embedder in the recipe, and fetch its model on every machine",
        )
    async with (
        open_chat(config, answers, spent=job.build.spent_path, ledger=ledger) as chat,
        open_generator(recipe.generation, answers, spent=job.build.spent_on_sounds_path, ledger=ledger) as generator,
    ):
        tools = Tools(
            pool=pool,
            retriever=retriever,
            embed=CachedEmbed(retriever.embed),
            verifier=verifier_of(recipe.verifier, retriever.identity, chat),
            workshop=pool.made,
            generator=generator,
            detect_speech=SpeechGate() if recipe.verifier.listen_for_speech else None,
            embed_audio=retriever.embedder.embed_audio if isinstance(retriever.embedder, AudioEmbedder) else None,
            top_k=recipe.retrieval.top_k,
            split=recipe.split,
        )
        room = asyncio.Semaphore(AHEAD * config.server.concurrency)
        yield Curator(job, Palette.of(index, recipe.split), chat, tools, room, on_sample)


def curators(recipe: Recipe, index: ClipIndex) -> dict[str, str]:
    """What shapes curated scenes beside the recipe, for a recipe that curates. Makes the search index."""
    prompted = {f"prompt {role}": role_hash(role) for role in recipe.llm_roles()}
    tasks = list(weights_of(recipe, Palette.of(index, recipe.split)))
    rules = {f"rules {task.value}": _hash(POLICIES[task].task_rule, POLICIES[task].response_rule) for task in tasks}
    versions = {"asking": ASKING_VERSION, "curation": CURATION_VERSION, "verifying": VERIFYING_VERSION}
    if recipe.verifier.listen_for_speech:
        versions["speech gate"] = SPEECH_GATE_VERSION
    embedder = SearchIndex.open(index.directory, recipe.retrieval, content_hash=index.content_hash).identity
    return {**prompted, **rules, **versions, EMBEDDER: embedder, "generator": asyncio.run(_maker(recipe))}


async def _maker(recipe: Recipe) -> str:
    async with open_generator(recipe.generation, AnswerCache()) as generator:
        return "none" if generator is None else _hash(generator.maker.canonical_json().decode())


def _hash(*texts: str) -> str:
    return hashlib.sha256(canonical_json(texts)).hexdigest()[:16]
