"""Readers of the 26 corpora of StreamAudio-2M, each in the layout it is published in. `READERS` has one for every source."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soundflow.operators.sources.corpora.place import Place
from soundflow.operators.sources.corpora.reader import Need, Read, Reader, Recording
from soundflow.operators.sources.corpora.sounds import AudioSet, Fma, Generated, Musan, NoiseTree
from soundflow.operators.sources.corpora.speech import Aishell, CommonVoice, Covost, GigaSpeech, LibriSpeech, VoxPopuli
from soundflow.operators.sources.corpora.texts import Messages, Moss, Pairs
from soundflow.schemas.clip import ClipRole

_AUDIOSET, _FMA = AudioSet(), Fma()
READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "common-voice": CommonVoice(),
        "gigaspeech": GigaSpeech(),
        "librispeech": LibriSpeech(),
        "voxpopuli": VoxPopuli(),
        "covost2-en-zh": Covost("en", "zh-CN"),
        "covost2-zh-en": Covost("zh-CN", "en"),
        "aishell": Aishell(),
        "fma-open": _FMA,
        "fma-choice": _FMA,
        "audioset-open": _AUDIOSET,
        "audioset-choice": _AUDIOSET,
        "audioset-description": _AUDIOSET,
        "moss": Moss(),
        "gammacorpus-fact-qa": Pairs(
            ("**/*.jsonl", "**/*.parquet"), "download rubenroy/GammaCorpus-Fact-QA-450k", ("question",), ("answer",)
        ),
        "audioset-events": _AUDIOSET,
        "audiox": Generated(),
        "elevenlabs": Generated(),
        "musan": Musan(),
        "wham": NoiseTree(("**/wham_noise/*/*.wav",), "unpack wham_noise.zip", ClipRole.NOISE_AMBIENT, "urban ambience"),
        "dns-challenge": NoiseTree(
            ("**/noise_fullband/*.wav", "**/noise/*.wav"),
            "run DNS-Challenge's download-dns-challenge-4.sh",
            ClipRole.NOISE_EVENT,
            "",
        ),
        "ultrachat": Messages(
            ("**/train_sft*.parquet", "**/*.jsonl"), "download HuggingFaceH4/ultrachat_200k", "messages", "role", "content"
        ),
        "magpie-pro": Messages(
            ("**/*.parquet", "**/*.jsonl"), "download Magpie-Align/Magpie-Pro-300K-Filtered", "conversations", "from", "value"
        ),
        "du-qa": Pairs(
            ("**/*.jsonl", "**/*.json"), "JSON lines of question and answer", ("question",), ("answer", "answers", "output")
        ),
        "coig-cqia": Pairs(("**/*.jsonl", "**/*.json"), "download m-a-p/COIG-CQIA"),
        "web-qa": Pairs(("**/*.jsonl", "**/*.json"), "download suolyer/webqa", ("input",)),
        "belle": Pairs(("**/*.json", "**/*.jsonl"), "download BelleGroup/train_0.5M_CN"),
    }
)

__all__ = ["READERS", "Need", "Place", "Read", "Reader", "Recording"]
