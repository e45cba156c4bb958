"""The 26 corpora StreamAudio-2M is made of: the paper's table (appendix D), and what has to be known to read each.

Items and hours are the paper's. They add up to 2,336,455 items, where its text says 2.6 million; the 302,000 hours are those of
the composed streams, not of the sources.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pydantic import Field

from schemas.base import Schema


class Family(StrEnum):
    """What a corpus is in the paper's table."""

    SPEECH = "speech"
    AUDIO = "audio"
    EVENT = "acoustic event"
    NOISE = "noise"
    TEXT = "auxiliary"


class Gives(StrEnum):
    """What a reader makes of it."""

    CLIPS = "clips"
    """Recordings, for `soundflow clips index`."""
    DIALOGUES = "dialogues"
    """Conversations in writing, for `soundflow speak`."""


class Source(Schema):
    """One row of the table."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    family: Family
    role: str
    """What it is for, in the paper's words."""
    items: int
    """Upstream instances drawn from it (paper, appendix D)."""
    hours: float | None = None
    """Raw audio; None where the paper gives none, or one figure for several rows."""
    gives: Gives = Gives.CLIPS
    home: str
    """Where it is had: a dataset of the Hugging Face hub, or an address."""
    licence: str
    """Of the corpus as a whole; a recording that says its own keeps it."""
    attribution: str = ""
    language: str = ""
    note: str = ""


_CITES: Final = {
    "common-voice": "Ardila et al. 2020, Common Voice",
    "covost": "Wang et al. 2021, CoVoST 2; recordings: Common Voice",
    "audioset": "Gemmeke et al. 2017, AudioSet; recordings: their YouTube uploaders",
}
_ROWS: Final = (
    Source(
        name="common-voice",
        title="CommonVoice",
        family=Family.SPEECH,
        role="streaming ASR supervision (multilingual)",
        items=62_354,
        hours=120,
        home="https://commonvoice.mozilla.org",
        licence="CC0-1.0",
        attribution=_CITES["common-voice"],
    ),
    Source(
        name="gigaspeech",
        title="GigaSpeech",
        family=Family.SPEECH,
        role="streaming ASR supervision (in-the-wild)",
        items=86_740,
        hours=170,
        home="speechcolab/gigaspeech",
        licence="Apache-2.0",
        attribution="Chen et al. 2021, GigaSpeech",
        language="en",
    ),
    Source(
        name="librispeech",
        title="LibriSpeech",
        family=Family.SPEECH,
        role="streaming ASR supervision (read speech)",
        items=81_647,
        hours=160,
        home="https://www.openslr.org/12",
        licence="CC-BY-4.0",
        attribution="Panayotov et al. 2015, LibriSpeech; LibriVox",
        language="en",
    ),
    Source(
        name="voxpopuli",
        title="VoxPopuli",
        family=Family.SPEECH,
        role="streaming ASR supervision (parliamentary)",
        items=39_746,
        hours=80,
        home="facebook/voxpopuli",
        licence="CC0-1.0",
        attribution="Wang et al. 2021, VoxPopuli; European Parliament",
    ),
    Source(
        name="covost2-en-zh",
        title="CoVoST 2 (En→CN)",
        family=Family.SPEECH,
        role="speech translation and simultaneous interpretation",
        items=198_942,
        hours=390,
        home="fixie-ai/covost2",
        licence="CC-BY-NC-4.0",
        attribution=_CITES["covost"],
        language="en",
    ),
    Source(
        name="covost2-zh-en",
        title="CoVoST 2 (CN→En)",
        family=Family.SPEECH,
        role="speech translation and simultaneous interpretation",
        items=16_826,
        hours=35,
        home="fixie-ai/covost2",
        licence="CC-BY-NC-4.0",
        attribution=_CITES["covost"],
        language="zh-CN",
    ),
    Source(
        name="aishell",
        title="AISHELL",
        family=Family.SPEECH,
        role="Mandarin ASR / translation supervision",
        items=141_246,
        hours=280,
        home="https://www.openslr.org/33",
        licence="Apache-2.0",
        attribution="Bu et al. 2017, AISHELL-1",
        language="zh",
        note="the paper says AISHELL without a number; its 141,246 items are near AISHELL-1's 141,600 utterances",
    ),
    Source(
        name="fma-open",
        title="FMA (Open)",
        family=Family.AUDIO,
        role="open-ended music understanding prompts",
        items=33_154,
        hours=150,
        home="https://github.com/mdeff/fma",
        licence="per track",
        attribution="Defferrard et al. 2017, FMA",
        note="150 hours are those of both FMA rows",
    ),
    Source(
        name="fma-choice",
        title="FMA (Choice)",
        family=Family.AUDIO,
        role="multiple-choice music understanding prompts",
        items=42_347,
        home="https://github.com/mdeff/fma",
        licence="per track",
        attribution="Defferrard et al. 2017, FMA",
    ),
    Source(
        name="audioset-open",
        title="AudioSet (Open)",
        family=Family.AUDIO,
        role="open-ended audio-QA grounding events",
        items=171_030,
        hours=820,
        home="agkphysics/AudioSet",
        licence="CC-BY-4.0",
        attribution=_CITES["audioset"],
        note="820 hours are those of the three AudioSet rows of this family",
    ),
    Source(
        name="audioset-choice",
        title="AudioSet (Choice)",
        family=Family.AUDIO,
        role="multiple-choice audio-QA reasoning prompts",
        items=135_753,
        home="agkphysics/AudioSet",
        licence="CC-BY-4.0",
        attribution=_CITES["audioset"],
    ),
    Source(
        name="audioset-description",
        title="AudioSet (Description)",
        family=Family.AUDIO,
        role="audio captioning and scene description",
        items=99_946,
        home="agkphysics/AudioSet",
        licence="CC-BY-4.0",
        attribution=_CITES["audioset"],
    ),
    Source(
        name="moss",
        title="MOSS",
        family=Family.SPEECH,
        role="spoken-dialogue supervision (TTS-rendered)",
        items=392_198,
        hours=4_900,
        gives=Gives.DIALOGUES,
        home="fnlp/moss-003-sft-data",
        licence="CC-BY-4.0",
        attribution="Sun et al. 2023, MOSS",
    ),
    Source(
        name="gammacorpus-fact-qa",
        title="GammaCorpus-Fact-QA",
        family=Family.SPEECH,
        role="factual spoken-QA supervision (TTS-rendered)",
        items=147_253,
        hours=1_840,
        gives=Gives.DIALOGUES,
        home="rubenroy/GammaCorpus-Fact-QA-450k",
        licence="Apache-2.0",
        attribution="Ruben Roy, GammaCorpus",
        language="en",
    ),
    Source(
        name="audioset-events",
        title="AudioSet (events)",
        family=Family.EVENT,
        role="real foreground events for streams",
        items=27_491,
        hours=160,
        home="agkphysics/AudioSet",
        licence="CC-BY-4.0",
        attribution=_CITES["audioset"],
        note="160 hours are those of the three acoustic-event rows",
    ),
    Source(
        name="audiox",
        title="AudioX",
        family=Family.EVENT,
        role="synthesized rare-event clips",
        items=94_503,
        home="https://github.com/ZeyueT/AudioX",
        licence="generated",
        attribution="made with AudioX",
    ),
    Source(
        name="elevenlabs",
        title="ElevenLabs",
        family=Family.EVENT,
        role="synthesized targeted sound effects",
        items=48_927,
        home="https://elevenlabs.io",
        licence="generated",
        attribution="made with ElevenLabs",
    ),
    Source(
        name="musan",
        title="MUSAN",
        family=Family.NOISE,
        role="music, speech and ambient background",
        items=1_896,
        hours=620,
        home="https://www.openslr.org/17",
        licence="CC-BY-4.0",
        attribution="Snyder et al. 2015, MUSAN",
        note="620 hours are those of the three noise rows; MUSAN itself has 2,016 files and 109 hours",
    ),
    Source(
        name="wham",
        title="WHAM!",
        family=Family.NOISE,
        role="real-world reverberant scenes",
        items=13_425,
        home="http://wham.whisper.ai",
        licence="CC-BY-NC-4.0",
        attribution="Wichern et al. 2019, WHAM!",
    ),
    Source(
        name="dns-challenge",
        title="DNS Challenge",
        family=Family.NOISE,
        role="diverse environmental conditions",
        items=14_328,
        home="https://github.com/microsoft/DNS-Challenge",
        licence="CC-BY-4.0",
        attribution="Microsoft DNS Challenge",
        note="its noise is of AudioSet and Freesound",
    ),
    Source(
        name="ultrachat",
        title="UltraChat",
        family=Family.TEXT,
        role="text-only instruction following (multi-turn)",
        items=156_732,
        gives=Gives.DIALOGUES,
        home="HuggingFaceH4/ultrachat_200k",
        licence="MIT",
        attribution="Ding et al. 2023, UltraChat",
        language="en",
    ),
    Source(
        name="magpie-pro",
        title="Magpie-Pro",
        family=Family.TEXT,
        role="text-only instruction following (self-aligned)",
        items=167_324,
        gives=Gives.DIALOGUES,
        home="Magpie-Align/Magpie-Pro-300K-Filtered",
        licence="Llama-3",
        attribution="Xu et al. 2024, Magpie",
        language="en",
    ),
    Source(
        name="du-qa",
        title="DU-QA",
        family=Family.TEXT,
        role="text-only domain-understanding QA",
        items=14_308,
        gives=Gives.DIALOGUES,
        home="unknown",
        licence="unknown",
        note="the paper does not say which corpus this is; any JSON lines with a question and an answer are read",
    ),
    Source(
        name="coig-cqia",
        title="COIG-CQIA",
        family=Family.TEXT,
        role="Chinese instruction following",
        items=34_274,
        gives=Gives.DIALOGUES,
        home="m-a-p/COIG-CQIA",
        licence="per row",
        attribution="Bai et al. 2024, COIG-CQIA",
        language="zh",
    ),
    Source(
        name="web-qa",
        title="Web-QA",
        family=Family.TEXT,
        role="open-domain web question answering",
        items=5_892,
        gives=Gives.DIALOGUES,
        home="suolyer/webqa",
        licence="unknown",
        attribution="WebQA",
        language="zh",
    ),
    Source(
        name="belle",
        title="BellGroup",
        family=Family.TEXT,
        role="Chinese conversational instructions",
        items=108_173,
        gives=Gives.DIALOGUES,
        home="BelleGroup/train_0.5M_CN",
        licence="GPL-3.0",
        attribution="BELLE Group",
        language="zh",
        note="the paper writes BellGroup",
    ),
)
SOURCES: Final = MappingProxyType({source.name: source for source in _ROWS})
"""By name, in the table's order."""
