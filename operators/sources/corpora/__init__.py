"""Readers of the 26 corpora of StreamAudio-2M, each in its published layout. `READERS` has one for each source."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soundflow.operators.sources.corpora.corpus_folder import CorpusFolder
from soundflow.operators.sources.corpora.reader import CorpusItem, CorpusReader, Recording, RequiredFiles
from soundflow.operators.sources.corpora.sounds import (
    AudioSetReader,
    FmaReader,
    GeneratedSoundReader,
    MusanReader,
    NoiseFolderReader,
)
from soundflow.operators.sources.corpora.speech import (
    AishellReader,
    CommonVoiceReader,
    Covost2Reader,
    GigaSpeechReader,
    LibriSpeechReader,
    VoxPopuliReader,
)
from soundflow.operators.sources.corpora.texts import MessageListReader, MossReader, QuestionAnswerReader
from soundflow.schemas.clip import ClipRole

_AUDIOSET, _FMA = AudioSetReader(), FmaReader()
READERS: Final[Mapping[str, CorpusReader]] = MappingProxyType(
    {
        "common-voice": CommonVoiceReader(),
        "gigaspeech": GigaSpeechReader(),
        "librispeech": LibriSpeechReader(),
        "voxpopuli": VoxPopuliReader(),
        "covost2-en-zh": Covost2Reader("en", "zh-CN"),
        "covost2-zh-en": Covost2Reader("zh-CN", "en"),
        "aishell": AishellReader(),
        "fma-open": _FMA,
        "fma-choice": _FMA,
        "audioset-open": _AUDIOSET,
        "audioset-choice": _AUDIOSET,
        "audioset-description": _AUDIOSET,
        "moss": MossReader(),
        "gammacorpus-fact-qa": QuestionAnswerReader(
            ("**/*.jsonl", "**/*.parquet"), "download rubenroy/GammaCorpus-Fact-QA-450k", ("question",), ("answer",)
        ),
        "audioset-events": _AUDIOSET,
        "audiox": GeneratedSoundReader(),
        "elevenlabs": GeneratedSoundReader(),
        "musan": MusanReader(),
        "wham": NoiseFolderReader(("**/wham_noise/*/*.wav",), "unpack wham_noise.zip", ClipRole.NOISE_AMBIENT, "urban ambience"),
        "dns-challenge": NoiseFolderReader(
            ("**/noise_fullband/*.wav", "**/noise/*.wav"),
            "run DNS-Challenge's download-dns-challenge-4.sh",
            ClipRole.NOISE_EVENT,
            "",
        ),
        "ultrachat": MessageListReader(
            ("**/train_sft*.parquet", "**/*.jsonl"), "download HuggingFaceH4/ultrachat_200k", "messages", "role", "content"
        ),
        "magpie-pro": MessageListReader(
            ("**/*.parquet", "**/*.jsonl"), "download Magpie-Align/Magpie-Pro-300K-Filtered", "conversations", "from", "value"
        ),
        "du-qa": QuestionAnswerReader(
            ("**/*.jsonl", "**/*.json"), "JSON lines of question and answer", ("question",), ("answer", "answers", "output")
        ),
        "coig-cqia": QuestionAnswerReader(("**/*.jsonl", "**/*.json"), "download m-a-p/COIG-CQIA"),
        "web-qa": QuestionAnswerReader(("**/*.jsonl", "**/*.json"), "download suolyer/webqa", ("input",)),
        "belle": QuestionAnswerReader(("**/*.json", "**/*.jsonl"), "download BelleGroup/train_0.5M_CN"),
    }
)

__all__ = ["READERS", "CorpusFolder", "CorpusItem", "CorpusReader", "Recording", "RequiredFiles"]
