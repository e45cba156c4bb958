"""Bytes that fingerprints, content hashes and plans rest on: a clip and a plan written by hand, against literal values.

The values were computed before clips and plans shared a base schema. A changed value here invalidates existing corpora.
"""

from __future__ import annotations

import hashlib
from typing import Any, get_type_hints

import pytest

from soundflow.operators.clean import clip_cache
from soundflow.operators.clean.clip_cache import CleanConfig, Treatment
from soundflow.operators.compose.clips import COPIED, ClipBrief
from soundflow.pipeline.clips.table import shaping_bytes
from soundflow.schemas.clip import CleanClip, Clip
from soundflow.schemas.stream import PlannedClip, StreamPlan

CLEANING = {
    "in_samples": 16_000,
    "out_samples": 12_800,
    "cut_ms": 200.0,
    "noise_floor_db": -62.5,
    "denoised": True,
    "span": [0.1, 0.9],
    "passes": 2,
    "converged": True,
}
MEASURED: dict[str, Any] = {
    "clean_sha256": "b" * 64,
    "samples": 12_800,
    "active_end": 12_000,
    "active_level_db": -23.25,
    "peak": 0.5,
    "clipped_ratio": 0.0,
    "cleaning": CLEANING,
}
FACTS: dict[str, Any] = {
    "role": "foreground",
    "label": "speech",
    "caption": "a woman asks",
    "transcript": "Where is it?",
    "reply": "On the table.",
    "emotion": "happy",
    "language": "en",
    "dialogue": "d1",
    "turn": 2,
    "voice": "anna",
    "translation": "它在哪里？",
    "translation_language": "zh-CN",
    "licence": "CC-BY-4.0",
    "attribution": "Jane Doe",
    "source": "libri",
    "interpreter": "llm:qwen",
}
CLIP = (
    {"id": "libri/1", "path": "/data/1.wav", "content_sha256": "a" * 64, "cache_key": "c" * 64, "wer": 0.05, "split": "dev"}
    | MEASURED
    | FACTS
    | {
        "words": [{"text": "Where is", "start": 0, "end": 6_000}, {"text": "it?", "start": 6_000, "end": 12_000}],
        "segments": [{"text": "它在哪里？", "words": 2}],
    }
)
PLANNED_CLIP = FACTS | {
    "clip_id": "libri/1",
    "content_sha256": "a" * 64,
    "clean_sha256": "b" * 64,
    "kind": "speech",
    "offset": 3_200,
    "start": 0,
    "length": 12_800,
    "active_level_db": -23.25,
    "gain_db": 0.0,
    "amplitude": 0.75,
}
PLAN = {
    "sample_id": "sf-0123456789ab-000000-00001",
    "fingerprint": "0123456789abcdef" * 4,
    "shard": 0,
    "index": 1,
    "task": "chat_factual",
    "planner": "template",
    "title": "A question",
    "instruction": "Answer.",
    "token_layout": "qwen2.5/1",
    "chunks": 4,
    "samples": 25_600,
    "clips": [PLANNED_CLIP],
    "noises": [
        {"track": "ambient", "clip_id": None, "procedural": "procedural:pink:7", "start": 0}
        | {"snr_db": 12.5, "power": 0.01, "amplitude": 0.125}
    ],
    "responses": [
        {"chunk": 3, "due_chunk": 3, "text": "On the table."}
        | {"pieces": [{"event": 0, "text": "On the table.", "source": "clip", "evidence": 16_000, "emotion": "happy"}]}
    ],
    "reference_level_dbfs": -26.0,
    "main_power": 0.002,
    "scale": 1.0,
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_clip_keeps_its_bytes() -> None:
    clip = Clip.model_validate(CLIP)
    text = (
        '{"active_end":12000,"active_level_db":-23.25,"attribution":"Jane Doe","cache_key":"'
        + "c" * 64
        + '","caption":"a woman asks","clean_sha256":"'
        + "b" * 64
        + '","cleaning":{"converged":true,"cut_ms":200.0,"denoised":true,"in_samples":16000,"noise_floor_db":-62.5,'
        + '"out_samples":12800,"passes":2,"span":[0.1,0.9]},"clipped_ratio":0.0,"content_sha256":"'
        + "a" * 64
        + '","dialogue":"d1","emotion":"happy","id":"libri/1","interpreter":"llm:qwen","label":"speech","language":"en",'
        + '"licence":"CC-BY-4.0","path":"/data/1.wav","peak":0.5,"reply":"On the table.","role":"foreground","samples":12800,'
        + '"segments":[{"text":"它在哪里？","words":2}],"source":"libri","split":"dev","transcript":"Where is it?",'
        + '"translation":"它在哪里？","translation_language":"zh-CN","turn":2,"voice":"anna","wer":0.05,'
        + '"words":[{"end":6000,"start":0,"text":"Where is"},{"end":12000,"start":6000,"text":"it?"}]}'
    )
    assert clip.canonical_json().decode() == text
    shaping = "db78e9ebce473acafc4f8b308a3cc247d61a59f47aaf3be061c087c769ebf376"
    assert sha256(shaping_bytes(clip.model_dump(mode="json"))) == shaping


def test_the_defaults_of_a_clip_keep_their_bytes() -> None:
    required = {"id", "path", "content_sha256", "clean_sha256", "cache_key", "role", "label", "samples", "active_end"}
    required |= {"active_level_db", "peak", "clipped_ratio"}
    text = (
        '{"active_end":12000,"active_level_db":-23.25,"attribution":"","cache_key":"'
        + "c" * 64
        + '","caption":"","clean_sha256":"'
        + "b" * 64
        + '","cleaning":null,"clipped_ratio":0.0,"content_sha256":"'
        + "a" * 64
        + '","dialogue":"","emotion":"","id":"libri/1","interpreter":"","label":"speech","language":"","licence":"unknown",'
        + '"path":"/data/1.wav","peak":0.5,"reply":null,"role":"foreground","samples":12800,"segments":[],"source":"unknown",'
        + '"split":"train","transcript":null,"translation":null,"translation_language":"","turn":null,"voice":"","wer":null,'
        + '"words":[]}'
    )
    clip = Clip.model_validate({name: value for name, value in CLIP.items() if name in required})
    assert clip.canonical_json().decode() == text


def test_a_planned_clip_keeps_its_bytes() -> None:
    text = (
        '{"active_level_db":-23.25,"amplitude":0.75,"attribution":"Jane Doe","caption":"a woman asks","clean_sha256":"'
        + "b" * 64
        + '","clip_id":"libri/1","content_sha256":"'
        + "a" * 64
        + '","dialogue":"d1","emotion":"happy","gain_db":0.0,"interpreter":"llm:qwen","kind":"speech","label":"speech",'
        + '"language":"en","length":12800,"licence":"CC-BY-4.0","offset":3200,"reply":"On the table.","role":"foreground",'
        + '"source":"libri","start":0,"transcript":"Where is it?","translation":"它在哪里？","translation_language":"zh-CN",'
        + '"turn":2,"voice":"anna"}'
    )
    assert PlannedClip.model_validate(PLANNED_CLIP).canonical_json().decode() == text


def test_a_plan_and_a_cache_entry_keep_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = StreamPlan.model_validate(PLAN).canonical_json()
    assert len(plan) == 1480
    assert sha256(plan) == "110d093f851220f9ff6e83cb6d07ec7667f8c2527ef9e596a51eef791786c02f"
    measured = CleanClip.model_validate(MEASURED).canonical_json()
    assert sha256(measured) == "f091c41fc2f8759c1150f1329292f427dd3199f03a8cbf6160a304e1f12206a4"
    monkeypatch.setattr(clip_cache, "INGRESS_VERSION", "3")  # the versions of the time, since they are part of the key
    monkeypatch.setattr(clip_cache, "TFJP_VERSION", "3")
    key = CleanConfig().key("a" * 64, Treatment.TFJP)
    assert key == "a1554cd801ea6bc3a5c1d300826eafceec53a1e13b41a340e5fee37aac53b457"


def test_the_columns_of_a_brief_have_the_types_of_the_clip() -> None:
    hints, fields = get_type_hints(ClipBrief), Clip.model_fields
    assert {name: hints[name] for name in COPIED} == {name: fields[name].annotation for name in COPIED}
    derived = {"kind", "has_reply", "translated", "aligned", "asks"}
    assert set(ClipBrief._fields) - set(COPIED) == derived
