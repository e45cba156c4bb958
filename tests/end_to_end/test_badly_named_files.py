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


def responses_of(folder: Path, source: Path) -> set[str]:
    """Return the lower-case responses of a corpus made of one source."""
    recipe = folder / "r.yaml"
    soundflow("clips", "index", str(source), "-o", str(folder / "clips"))
    soundflow("init", str(recipe), "--clips", str(folder / "clips"), "--streams", "90", "--shards", "1", "--seed", "1")
    soundflow("build", str(recipe), "-o", str(folder / "corpus"), "--executor", "inline")
    responses: set[str] = set()
    for path in (folder / "corpus" / "data").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in (member for member in tar if member.name.endswith(".json")):
                file = tar.extractfile(member)
                assert file is not None
                responses |= {response["text"].lower() for response in json.load(file)["responses"]}
    return responses


def test_no_word_of_a_file_name_is_in_a_response(tmp_path: Path) -> None:
    for pitch, label in enumerate(("dog_bark", "siren", "church_bells", "train")):
        files = {name: wav(burst(0.6, pitch=200 + 90 * pitch + 17 * number)) for number, name in enumerate(NAMES)}
        build(tmp_path / "sounds" / label, files)
    responses = responses_of(tmp_path, tmp_path / "sounds")
    assert any("dog bark" in text for text in responses), responses
    assert any("siren" in text for text in responses), responses
    assert any("train" in text for text in responses), sorted(responses)
    assert not [text for text in responses if set(text.replace(".", " ").replace(",", " ").split()) & set(FILE_WORDS)]


def test_captions_and_labels_without_words_are_never_spoken(tmp_path: Path) -> None:
    captions = ("user img final v", "dsc 0012 take", "a dog barks twice", "gqARaEJE 0 000", "Screen Recording 2023-01-01")
    labels = ("dog bark", "siren", "dog bark", "church bells", "d41d8cd98f00b204")
    rows = ["path,label,caption"]
    for number, (label, caption) in enumerate((label, caption) for label in labels for caption in captions):
        build(tmp_path / "sounds", {f"{number}.wav": wav(burst(0.6, pitch=200 + 17 * number))})
        rows.append(f"{number}.wav,{label},{caption}")
    (tmp_path / "sounds/manifest.csv").write_text("\n".join(rows))
    responses = responses_of(tmp_path, tmp_path / "sounds")
    words = {word.strip(".,!?") for text in responses for word in text.split()}
    assert any("a dog barks twice" in text for text in responses) and any("church bells" in text for text in responses)
    assert not words & {"user", "img", "final", "dsc", "take", "gqaraeje", "screen", "recording", "d41d8cd98f00b204", "cd"}, words
