"""A corpus of badly named files in labelled folders: responses have no word that is not from a label or a template."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.support.bad_audio import build, burst, wav

NAMES = ("406087__quuxuser__img-final-v2.wav", "Y--4gqARaEJE_0.000_10.000.wav", "zzyzx_take7.wav")
FILE_WORDS = ("quuxuser", "img", "final", "gq", "zzyzx", "take")


def soundflow(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "soundflow", *arguments], check=True, capture_output=True)


def test_no_word_of_a_file_name_is_in_a_response(tmp_path: Path) -> None:
    for pitch, label in enumerate(("dog_bark", "siren", "church_bells", "train")):
        files = {name: wav(burst(0.6, pitch=200 + 90 * pitch + 17 * number)) for number, name in enumerate(NAMES)}
        build(tmp_path / "sounds" / label, files)
    recipe = tmp_path / "r.yaml"
    soundflow("clips", "index", str(tmp_path / "sounds"), "-o", str(tmp_path / "clips"))
    soundflow("init", str(recipe), "--clips", str(tmp_path / "clips"), "--streams", "60", "--shards", "1", "--seed", "1")
    soundflow("build", str(recipe), "-o", str(tmp_path / "corpus"), "--executor", "inline")
    responses: set[str] = set()
    for path in (tmp_path / "corpus" / "data").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in (member for member in tar if member.name.endswith(".json")):
                file = tar.extractfile(member)
                assert file is not None
                responses |= {response["text"].lower() for response in json.load(file)["responses"]}
    assert any("dog bark" in text for text in responses), responses
    assert any("siren" in text for text in responses), responses
    assert any("train" in text for text in responses), sorted(responses)
    assert not [text for text in responses if set(text.replace(".", " ").replace(",", " ").split()) & set(FILE_WORDS)]
