"""Every benchmark in small, in its published format, with real recordings in it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from pyarrow import parquet

RATE = 16_000


def tone(number: int, seconds: float = 0.5) -> np.ndarray:
    """A recording that tells its number by its loudness."""
    return (0.05 * (number + 1) * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def encoded(number: int, kind: str = "WAV") -> bytes:
    """The same as a file."""
    held = io.BytesIO()
    soundfile.write(held, tone(number), RATE, format=kind)
    return held.getvalue()


def hugging_face(path: Path, columns: Mapping[str, list[Any]], first: int = 0) -> Path:
    """A parquet file as Hugging Face writes audio data sets, in row groups of two."""
    count = len(next(iter(columns.values())))
    audio = [{"bytes": encoded(first + number), "path": f"{number}.wav"} for number in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({**columns, "audio": audio}), path, row_group_size=2)
    return path


def mmau(root: Path) -> Path:
    """mmau-test-mini.json with its recordings."""
    rows = []
    for number, task in enumerate(("sound", "music", "speech")):
        name = f"3fe64f3d-282c-4bc8-a753-68f8f6c3565{number}"
        audio = root / "test-mini-audios" / f"{name}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio, tone(number), RATE)
        rows.append(
            {
                "id": name,
                "audio_id": f"./test-mini-audios/{name}.wav",
                "question": "Based on the given audio, identify the source of the speaking voice.",
                "choices": ["A man", "A woman", "An old man", "Robot"],
                "answer": ("A man", "A woman", "Robot")[number],
                "dataset": "AudioSet",
                "task": task,
                "split": "test-mini",
                "category": "Reasoning",
                "sub-category": "Acoustic Source Inference",
                "difficulty": "medium",
            }
        )
    (root / "mmau-test-mini.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return root / "mmau-test-mini.json"


def alpaca_eval(root: Path) -> Path:
    """hlt-lab/voicebench, alpacaeval_full."""
    prompts = ["What are the names of some famous actors?", "How did US states get their names?", "Hi, my sister broke a plate."]
    return hugging_face(root / "alpacaeval_full" / "test-00000-of-00001.parquet", {"prompt": prompts}).parent


def sd_qa(root: Path) -> Path:
    """hlt-lab/voicebench, sd-qa, two regions."""
    for region, first in (("aus", 0), ("usa", 3)):
        columns = {"prompt": ["who wrote hamlet", "how many legs has a spider"], "reference": ["Shakespeare", "eight"]}
        hugging_face(root / "sd-qa" / f"{region}-00000-of-00001.parquet", columns, first)
    return root / "sd-qa"


def llama_questions(root: Path) -> Path:
    """OpenAudioBench's folder."""
    folder = root / "llama_questions"
    (folder / "audios").mkdir(parents=True)
    for number in range(2):
        (folder / "audios" / f"{number}.wav").write_bytes(encoded(number))
    text = "Questions,Answer,audio_filename\r\nWhat is the capital of France?,Paris,0.wav\r\n"
    text += '"Which river, of all, is the longest?",the Nile,1.wav\r\n'
    (folder / "llama_questions.csv").write_text("\ufeff" + text, encoding="utf-8", newline="")
    return folder


def web_questions(root: Path) -> Path:
    """Recordings in parquet, answers as lists."""
    columns = {"question": ["what does jamaican people speak?", "who won?"], "answers": [["Jamaican English", "Patois"], ["Zoë"]]}
    return hugging_face(root / "web" / "test-00000-of-00001.parquet", columns).parent


def librispeech(root: Path) -> Path:
    """The published tree."""
    for split, speaker, first in (("test-clean", 1089, 0), ("test-other", 1688, 2)):
        folder = root / "LibriSpeech" / split / str(speaker) / "134686"
        folder.mkdir(parents=True)
        lines = []
        for number in range(2):
            name = f"{speaker}-134686-{number:04d}"
            (folder / f"{name}.flac").write_bytes(encoded(first + number, "FLAC"))
            lines.append(f"{name} {('HE HOPED THERE WOULD BE STEW', 'I DON' + chr(39) + 'T KNOW')[number]}\n")
        (folder / f"{speaker}-134686.trans.txt").write_text("".join(lines), encoding="utf-8")
    return root / "LibriSpeech"


def covost2(root: Path) -> Path:
    """One direction as parquet, the other as the published TSV with clips."""
    columns = {"file": ["a.mp3"], "sentence": ["Good morning."], "translation": ["早上好。"], "id": ["common_voice_en_1"]}
    hugging_face(root / "en_zh-CN" / "test-00000-of-00001.parquet", columns)
    clips = root / "tsv" / "clips"
    clips.mkdir(parents=True)
    (clips / "common_voice_zh-CN_2.wav").write_bytes(encoded(1))
    (clips / "common_voice_zh-CN_3.wav").write_bytes(encoded(2))
    rows = ["path\tsentence\ttranslation\tclient_id\tsplit"]
    rows += ['common_voice_zh-CN_2.wav\t他说"好"。\tHe said "fine."\tx\ttest', "common_voice_zh-CN_3.wav\t不\tNo.\tx\ttrain"]
    (root / "tsv" / "covost_v2.zh-CN_en.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


MINIATURES = {
    "mmau": mmau,
    "alpaca-eval": alpaca_eval,
    "sd-qa": sd_qa,
    "llama-questions": llama_questions,
    "web-questions": web_questions,
    "librispeech": librispeech,
    "covost2": covost2,
}
