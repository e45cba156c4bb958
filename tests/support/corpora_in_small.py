"""Miniatures of the 26 corpora in the layout they are published in: real headers, real columns, a second of sound each."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import soundfile
from pyarrow import parquet

COMMON_VOICE: Final = "\t".join(
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment".split()
)


def sound(seed: int, form: str = "WAV") -> bytes:
    """Half a second of noise bursts as a file."""
    samples = 0.3 * np.random.default_rng(seed).standard_normal(8_000) * (np.arange(8_000) > 2_000)
    data = io.BytesIO()
    soundfile.write(data, samples.astype(np.float32), 16_000, format=form)
    return data.getvalue()


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def lines(path: Path, rows: list[Any]) -> None:
    put(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def common_voice(root: Path) -> None:
    for language, words in (("en", 'The cat\'s "quoted" home.'), ("zh-CN", "你好，世界。")):
        folder = root / "cv-corpus-17.0-2024-03-15" / language
        for at, split in enumerate(("train", "dev", "test")):
            file = f"common_voice_{language}_{at}.mp3"
            put(folder / f"{split}.tsv", f"{COMMON_VOICE}\n{'a' * 128}\t{file}\t9\t{words}\t\t2\t0\t\t\t\t\t{language}\t\n")
            put(folder / "clips" / file, sound(at, "MP3"))
        put(folder / "validated.tsv", f"{COMMON_VOICE}\n")


def gigaspeech(root: Path) -> None:
    def row(key: str, words: str) -> dict[str, Any]:
        return {
            "segment_id": key,
            "speaker": "N/A",
            "text": words,
            "audio": {"bytes": sound(1), "path": f"{key}.wav"},
            "begin_time": 1.5,
            "end_time": 3.0,
            "audio_id": "YOU0000000315",
            "title": "t",
            "url": "https://www.youtube.com/watch?v=zr2n",
            "source": 2,
            "category": 3,
            "original_full_path": "audio/youtube/P0004/YOU0000000315.opus",
        }

    spoken = "AS THEY'RE LEAVING <COMMA> CAN KASH PULL ZAHRA ASIDE REALLY QUICKLY <QUESTIONMARK> I THINK SO <PERIOD>"
    table(
        root / "data/xs/train-00000-of-00001.parquet",
        [row("YOU0000000315_S0000660", spoken), row("YOU0000000315_S0000661", "<MUSIC>")],
    )


def librispeech(root: Path) -> None:
    folder = root / "LibriSpeech/dev-clean/84/121123"
    put(folder / "84-121123.trans.txt", "84-121123-0000 GO DO YOU HEAR I'M HERE\n84-121123-0001 BUT IN LESS THAN FIVE MINUTES\n")
    for at in range(2):
        put(folder / f"84-121123-000{at}.flac", sound(at, "FLAC"))
    put(
        root / "LibriSpeech/SPEAKERS.TXT",
        ";ID  |SEX| SUBSET           |MINUTES| NAME\n84   | F | dev-clean        |  8.02 | Christie Nowak\n",
    )


def voxpopuli(root: Path) -> None:
    row = {
        "audio_id": "20180704-0900-PLENARY-15-en_20180704-20:02:34_10",
        "language": 0,
        "audio": {"bytes": sound(2), "path": "x.wav"},
        "raw_text": "That is why we need it.",
        "normalized_text": "that is why we need it",
        "gender": "female",
        "speaker_id": "96856",
        "is_gold_transcript": True,
        "accent": "None",
    }
    table(root / "en/validation-00000-of-00001.parquet", [row, row | {"audio_id": "b", "raw_text": "", "normalized_text": ""}])


def covost_en(root: Path) -> None:
    folder = root / "cv-corpus-4/en"
    put(
        folder / "covost_v2.en_zh-CN.dev.tsv",
        "path\tsentence\ttranslation\tclient_id\ncommon_voice_en_1.mp3\tGood morning.\t早上好。\t0ab\n",
    )
    put(folder / "clips/common_voice_en_1.mp3", sound(3, "MP3"))


def covost_zh(root: Path) -> None:
    row = {
        "client_id": "c1",
        "file": "x.mp3",
        "audio": {"bytes": sound(4, "MP3"), "path": "common_voice_zh-CN_1.mp3"},
        "sentence": "早上好。",
        "translation": "Good morning.",
        "id": "common_voice_zh-CN_1",
    }
    table(root / "zh-CN_en/train-00000-of-00001.parquet", [row])
    table(root / "en_zh-CN/train-00000-of-00001.parquet", [row | {"id": "of the other direction"}])


def aishell(root: Path) -> None:
    put(
        root / "data_aishell/transcript/aishell_transcript_v0.8.txt",
        "BAC009S0002W0122 而 对 楼市 成交 抑制 作用 最 大 的 限 购\n",
    )
    for key in ("BAC009S0002W0122", "BAC009S0002W0123"):
        put(root / f"data_aishell/wav/train/S0002/{key}.wav", sound(5))


def fma(root: Path) -> None:
    head = (
        ",album,artist,set,set,track,track,track\n,title,name,split,subset,genre_top,license,title\ntrack_id,,,,,,,\n"
        '2,AWOL,"AWOL, the band",training,small,Hip-Hop,Attribution-NonCommercial-ShareAlike 3.0 International,Food\n'
    )
    put(root / "fma_metadata/tracks.csv", head)
    for key in ("000002", "000005"):
        put(root / f"fma_small/000/{key}.mp3", sound(6, "MP3"))


def audioset(root: Path) -> None:
    def row(key: str, names: list[str]) -> dict[str, Any]:
        audio = {"bytes": sound(7, "FLAC"), "path": f"audio/bal_train/{key}.flac"}
        return {"video_id": key, "audio": audio, "labels": ["/m/09x0r"] * len(names), "human_labels": names}

    rows = [row("--PJHxphWEs", ["Speech", "Smoke detector, smoke alarm"]), row("-0RWZT-miFs", ["Bird"]), row("x", ["Rain"])]
    rows[2]["audio"]["bytes"] = b""
    table(root / "data/bal_train/0000.parquet", rows)


def generated(root: Path) -> None:
    rows = [
        {"file_name": "a/glass.wav", "caption": "a window shatters", "label": "glass break", "model": "AudioX"},
        {"file_name": ""},
    ]
    lines(root / "metadata.jsonl", rows)
    put(root / "a/glass.wav", sound(8))


def musan(root: Path) -> None:
    put(root / "musan/noise/free-sound/ANNOTATIONS", "noise-free-sound-0000 wind\nnoise-free-sound-0001 dial tone\n")
    put(root / "musan/noise/free-sound/LICENSE", "Public Domain\n")
    for key in ("noise-free-sound-0000", "noise-free-sound-0001"):
        put(root / f"musan/noise/free-sound/{key}.wav", sound(9))
    put(root / "musan/music/fma/music-fma-0000.wav", sound(9))


def wham(root: Path) -> None:
    for split in ("tr", "cv", "tt"):
        put(root / f"wham_noise/{split}/01rc020r_0.4378_209a010p_-0.4378.wav", sound(10))
    put(root / "wham_noise/metadata/noise_meta_tr.csv", "utterance_id,noise_file\n")


def dns(root: Path) -> None:
    put(root / "datasets_fullband/noise_fullband/door_Freesound_validated_431.wav", sound(11))


def moss(root: Path) -> None:
    def chat(*pairs: tuple[str, str], commands: str = "None") -> dict[str, Any]:
        return {
            f"turn_{at}": {
                "Human": f"<|Human|>: {user}<eoh>\n",
                "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
                "Commands": f"<|Commands|>: {commands}<eoc>\n",
                "Tool Responses": "<|Results|>: None<eor>\n",
                "MOSS": f"<|MOSS|>: {answer}<eom>\n",
            }
            for at, (user, answer) in enumerate(pairs, 1)
        }

    many = tuple((f"question {at}", f"answer {at}") for at in range(1, 18))
    rows = [
        {"conversation_id": "1", "meta_instruction": "", "num_turns": 17, "chat": chat(*many), "category": "Brainstorming"},
        {"conversation_id": "2", "chat": chat(("你好，你是谁？", "我是一个助手。"))},
        {"conversation_id": "3", "chat": chat(("search it", "done"), commands='Search("it")')},
    ]
    lines(root / "moss-003-sft-data.jsonl", rows)


def gammacorpus(root: Path) -> None:
    lines(
        root / "gammacorpus-fact-qa-450k.jsonl",
        [{"question": "What is the capital of France?", "answer": "Paris."}, {"question": "?"}],
    )


def ultrachat(root: Path) -> None:
    def says(role: str, content: str) -> dict[str, str]:
        return {"content": content, "role": role}

    talk = [
        says("user", "Tell me of tea."),
        says("assistant", "Tea is a drink."),
        says("user", "And coffee?"),
        says("assistant", "So is coffee."),
    ]
    rows = [
        {"prompt": "Tell me of tea.", "prompt_id": "f0e3", "messages": talk},
        {"prompt": "", "prompt_id": "b", "messages": talk[1:]},
    ]
    table(root / "data/train_sft-00000-of-00003.parquet", rows)


def magpie(root: Path) -> None:
    talk = [{"from": "human", "value": "Why is the sky blue?"}, {"from": "gpt", "value": "Because of Rayleigh scattering."}]
    table(root / "data/train-00000-of-00005.parquet", [{"uuid": "1", "instruction": talk[0]["value"], "conversations": talk}])


def du_qa(root: Path) -> None:
    lines(root / "du.jsonl", [{"question": "手机发热怎么办？", "answer": "关闭后台程序。"}])


def coig(root: Path) -> None:
    row = {
        "instruction": "解释成语",
        "input": "画蛇添足",
        "output": "比喻多此一举。",
        "task_type": {"major": ["问答"]},
        "domain": ["成语"],
        "copyright": "CC BY-SA 4.0",
    }
    lines(root / "chinese_traditional/chengyu.jsonl", [row])


def webqa(root: Path) -> None:
    put(root / "train.json", json.dumps([{"id": 0, "input": "中国的首都是哪里？", "output": "北京"}], ensure_ascii=False))


def belle(root: Path) -> None:
    lines(
        root / "Belle_open_source_0.5M.json",
        [{"instruction": "给出三个保持健康的建议。", "input": "", "output": "多喝水，多运动，早睡觉。"}],
    )


CORPORA: Final[Mapping[str, tuple[Callable[[Path], None], int, int]]] = {
    "common-voice": (common_voice, 6, 0),
    "gigaspeech": (gigaspeech, 1, 1),
    "librispeech": (librispeech, 2, 0),
    "voxpopuli": (voxpopuli, 1, 1),
    "covost2-en-zh": (covost_en, 1, 0),
    "covost2-zh-en": (covost_zh, 1, 0),
    "aishell": (aishell, 1, 1),
    "fma-open": (fma, 1, 1),
    "fma-choice": (fma, 1, 1),
    "audioset-open": (audioset, 2, 1),
    "audioset-choice": (audioset, 2, 1),
    "audioset-description": (audioset, 2, 1),
    "moss": (moss, 2, 1),
    "gammacorpus-fact-qa": (gammacorpus, 1, 1),
    "audioset-events": (audioset, 2, 1),
    "audiox": (generated, 1, 1),
    "elevenlabs": (generated, 1, 1),
    "musan": (musan, 3, 0),
    "wham": (wham, 3, 0),
    "dns-challenge": (dns, 1, 0),
    "ultrachat": (ultrachat, 1, 1),
    "magpie-pro": (magpie, 1, 0),
    "du-qa": (du_qa, 1, 0),
    "coig-cqia": (coig, 1, 0),
    "web-qa": (webqa, 1, 0),
    "belle": (belle, 1, 0),
}
"""Who writes the miniature, and how many of its rows can be used and cannot."""
