"""The curator: plans the scenes of shards with a language model and commits them as scene sheets, apart from rendering.

One curator serves a whole build, so that its rate limits and budget hold. It may be killed at any time: a sheet is linked into
place complete, and the first wins; answers of the model are cached; made clips are content-addressed.
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

from soundflow.backends.asr.voice_activity import VOICE_ACTIVITY_VERSION, VoiceActivityDetector
from soundflow.backends.calls.metering import CostLedger
from soundflow.backends.embed.server import EmbeddingError
from soundflow.operators.compose.clips import Palette, decided_pool
from soundflow.operators.curate.curation import CURATION_VERSION, curate
from soundflow.operators.curate.grounding import GroundingTools
from soundflow.operators.curate.planning import weights_of
from soundflow.operators.curate.verifying import VERIFYING_VERSION, verifier_of
from soundflow.operators.protocols.asking import ASKING_VERSION
from soundflow.operators.protocols.chat import ChatModel
from soundflow.operators.protocols.embedding import AudioEmbedder, CachedEmbed
from soundflow.operators.tasks import POLICIES
from soundflow.pipeline.build.worker import MAX_FAILED_FRACTION, Job, ShardFailedError, ShardResult, describe_error
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

SAMPLES_PER_CALL: Final = 2
"""Samples in progress per concurrent call: while one waits for an answer, another is processed."""
MAX_TRIES: Final = 12
"""Tries of one request, in at least two rounds, before its sample counts as failed although the service works."""
T = TypeVar("T")

_shard_ledger: contextvars.ContextVar[CostLedger | None] = contextvars.ContextVar("shard ledger", default=None)


class _SplitLedger(CostLedger):
    """Counts costs for the whole process and for the shard that makes the call."""

    def _add(self, role: str, cost: RoleCost) -> None:
        super()._add(role, cost)
        ledger = _shard_ledger.get()
        if ledger is not None:
            ledger._add(role, cost)


@dataclass(slots=True)
class Curator:
    """Curates shards of one job, many samples of several shards concurrently in one event loop. Made by `curating`."""

    job: Job
    palette: Palette
    chat: ChatModel
    tools: GroundingTools
    slots: asyncio.Semaphore
    """Limits the samples in progress."""
    on_sample: Callable[[], None]
    """Called after each curated sample."""

    async def sheet(self, shard: int) -> SceneSheet:
        """Return the committed scene sheet of a shard; curate and commit it if there is none.

        Raises Halted, InputError (rejected key or model), OSError (full disk), and ShardFailedError if most samples failed.
        """
        build = self.job.build
        existing = build.sheet(shard, self.job.fingerprint)
        if existing is not None:
            return existing
        ledger = CostLedger()
        _shard_ledger.set(ledger)
        samples = await self.samples([(shard, index) for index in range(self.job.recipe.shard_sizes()[shard])])
        errors = [sample.failed for sample in samples if sample.failed]
        if len(errors) > MAX_FAILED_FRACTION * len(samples):
            raise ShardFailedError(f"{len(errors)} of {len(samples)} scenes failed, the first with {errors[0]}")
        sheet = SceneSheet(fingerprint=self.job.fingerprint, shard=shard, samples=tuple(samples), work=ledger.roles)
        path = build.sheet_path(shard)
        if not write_if_absent(build, path, sheet.canonical_json()) and build.sheet(shard, self.job.fingerprint) is None:
            write_file(build, path, sheet.canonical_json())  # the existing file is damaged or of another build
        committed = build.sheet(shard, self.job.fingerprint)
        assert committed is not None
        return committed

    async def samples(self, places: Sequence[tuple[int, int]]) -> list[CuratedSample]:
        """Curate samples, given as (shard, index), concurrently. Raises what `sheet` raises.

        Samples that failed because of a service are curated again when the others are done. If a service works otherwise
        (`backends.calls.guard`) but has not answered a request after `MAX_TRIES` tries, its sample has failed.
        """
        curated = dict(zip(places, await _all(self._sample(*place) for place in places), strict=True))
        tries = 1 + min(self.job.recipe.generation.server.retries, self.chat.config.server.retries)
        for _ in range(max(1, -(-MAX_TRIES // tries) - 1)):
            again = [place for place, (_, of_service) in curated.items() if of_service]
            curated |= dict(zip(again, await _all(self._sample(*place) for place in again), strict=True))
        return [sample for sample, _ in curated.values()]

    async def _sample(self, shard: int, index: int) -> tuple[CuratedSample, bool]:
        """Curate one sample; return it and whether it failed because of a service."""
        async with self.slots:
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
                    details = {"traceback": traceback.format_exc()}
                    of_service = isinstance(error, EmbeddingError)
                    outcome = Failed(f"{type(error).__name__}: {error}", "curation", details, of_service=of_service)
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
    """Return all results in order. An error is raised only after the other tasks, which may have been paid for, are done."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    # The most informative error first: a wrong key, then a broken service, then a spent budget.
    fatal = sorted(errors, key=lambda error: (isinstance(error, Halted), isinstance(error, BudgetSpent)))
    if fatal:
        raise fatal[0]
    return [result for result in results if not isinstance(result, BaseException)]


async def scenes_or_failure(curator: Curator, shard: int) -> ShardResult | None:
    """Commit the scenes of a shard and return None, or the result that describes why it has none.

    Raises Halted and InputError, which end the build.
    """
    try:
        await curator.sheet(shard)
    except (Halted, InputError):
        raise
    except Exception as error:
        fatal = isinstance(error, OSError) and error.errno in NO_SPACE
        return ShardResult(shard, None, describe_error(error), traceback.format_exc(), fatal)
    return None


@contextlib.asynccontextmanager
async def curating(job: Job, on_sample: Callable[[], None] = lambda: None) -> AsyncIterator[Curator]:
    """Open the curator of a job. Cached requests need neither a key nor a server. `on_sample` is called after each sample.

    Raises InputError if the clip index or the embedder of this machine is not the one the build was started with.
    """
    recipe, config = job.recipe, job.recipe.llm
    assert config is not None, "only recipes with a language model are curated"
    index = job.clips.open()
    pool = pool_of(job.build, index, recipe)
    pool.made.sweep()
    answers, ledger = AnswerCache(job.answers), _SplitLedger()
    retriever = SearchIndex.open(index.directory, recipe.retrieval, content_hash=index.content_hash, ledger=ledger)
    if retriever.identity != job.curators[EMBEDDER]:
        raise InputError(
            f"this machine uses the embedder {retriever.identity}, but the build was started with {job.curators[EMBEDDER]}",
            field="retrieval.embedder",
            remedy="Set the embedder in the recipe and fetch its model on every machine",
        )
    async with (
        open_chat(config, answers, spent=job.build.spent_path, ledger=ledger) as chat,
        open_generator(recipe.generation, answers, spent=job.build.spent_on_sounds_path, ledger=ledger) as generator,
    ):
        tools = GroundingTools(
            pool=pool,
            retriever=retriever,
            embed=CachedEmbed(retriever.embed),
            verifier=verifier_of(recipe.verifier, retriever.identity, chat),
            made_clips=pool.made,
            generator=generator,
            detect_speech=VoiceActivityDetector() if recipe.verifier.listen_for_speech else None,
            embed_audio=retriever.embedder.embed_audio if isinstance(retriever.embedder, AudioEmbedder) else None,
            top_k=recipe.retrieval.top_k,
            split=recipe.split,
            licences=frozenset(brief.licence for brief in pool.briefs()) if recipe.licences else None,
            longest_clip=recipe.scene.longest_clip,
            rules=pool.rules,
            use_rejected=recipe.rejected_transcripts == "use",
        )
        slots = asyncio.Semaphore(SAMPLES_PER_CALL * config.server.concurrency)
        yield Curator(job, Palette.of_recipe(pool, recipe), chat, tools, slots, on_sample)


def curators(recipe: Recipe, index: ClipIndex) -> dict[str, str]:
    """Return the versions and hashes that determine curated scenes in addition to the recipe. Makes the search index."""
    prompted = {f"prompt {role}": role_hash(role) for role in recipe.llm_roles()}
    tasks = list(weights_of(recipe, Palette.of_recipe(decided_pool(index, recipe), recipe)))
    rules = {f"rules {task.value}": _hash(POLICIES[task].task_rule, POLICIES[task].response_rule) for task in tasks}
    versions = {"asking": ASKING_VERSION, "curation": CURATION_VERSION, "verifying": VERIFYING_VERSION}
    if recipe.verifier.listen_for_speech:
        # "speech gate" is part of fingerprints and stays.
        versions["speech gate"] = VOICE_ACTIVITY_VERSION
    embedder = SearchIndex.open(index.directory, recipe.retrieval, content_hash=index.content_hash).identity
    return {**prompted, **rules, **versions, EMBEDDER: embedder, "generator": asyncio.run(_maker(recipe))}


async def _maker(recipe: Recipe) -> str:
    async with open_generator(recipe.generation, AnswerCache()) as generator:
        return "none" if generator is None else _hash(generator.maker.canonical_json().decode())


def _hash(*texts: str) -> str:
    return hashlib.sha256(canonical_json(texts)).hexdigest()[:16]
