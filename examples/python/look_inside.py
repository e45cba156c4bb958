"""Look inside: clean a recording, take a stream apart, change its plan and render it again.

    python examples/python/look_inside.py dog.wav work/corpus/

The second argument is a corpus, such as the one that `first_corpus.py` builds.
"""

import sys

import numpy as np
import soundfile
import soxr

import soundflow as sf
from soundflow.operators.tokens.qwen_bpe import QwenTokenizer
from soundflow.schemas.tokens import layout_of


def main(recording: str, directory: str) -> None:
    """Clean, read, render, tokenize."""
    # TFJP (paper, Algorithm 1) shortens silence, removes stationary noise and trims a recording to its core.
    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, 16_000)
    cleaned = sf.tfjp(mono)
    print(f"{recording}: {mono.size / 16_000:.2f} s -> {cleaned.samples.size / 16_000:.2f} s")
    for step in cleaned.trace:
        print(f"  {step.operator}: {dict(step.facts)}")

    # A plan lists the clips of a stream with their places and levels, the noise and the responses.
    corpus = sf.open_corpus(directory)
    stream = corpus[corpus.keys[0]]
    for clip in stream.plan.clips:
        print(f"  {clip.offset / 16_000:6.2f} s  {clip.role:<12} {clip.gain_db:+5.1f} dB  {clip.label}")

    # Audio is a pure function of the plan and the clips: rendered again, it equals what is stored (16-bit FLAC) ...
    index = sf.ClipIndex.open(corpus.clips)

    def samples_of(item):
        return index.audio(index.get(item.clip_id))

    audio = sf.render(stream.plan, samples_of)
    print(f"largest difference to the stored audio: {np.abs(audio - stream.audio).max():.6f}")
    # ... and a changed plan gives changed audio: here the same stream without its noise.
    quiet = stream.plan.model_copy(update={"noises": ()})
    clean = sf.render(quiet, samples_of)
    print(f"level with noise {level(audio):.1f} dBFS, without {level(clean):.1f} dBFS")

    # Tokens (paper, Algorithm 2): the instruction, then per chunk ten audio slots and <silent> or <response> + text + <eos>.
    plan, layout = stream.plan, layout_of(stream.plan.token_layout)
    tokens = sf.tokenize(plan.instruction, plan.chunks, plan.timeline(), QwenTokenizer.load(), layout)
    assert np.array_equal(tokens.x, stream.tokens.x)
    decisions = tokens.y_stream[tokens.y_stream != -100]
    print("".join("R" if decision == layout.response else "." for decision in decisions), "(one decision per 400 ms)")
    for chunk, text in plan.timeline():
        print(f"  chunk {chunk}: {text}")


def level(audio: np.ndarray) -> float:
    """Return the RMS level in dBFS."""
    return 10 * float(np.log10(np.mean(audio.astype(np.float64) ** 2)))


if __name__ == "__main__":
    main(*sys.argv[1:3])
