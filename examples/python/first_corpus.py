"""Build a first corpus from a folder of recordings and iterate over its streams.

    python examples/python/first_corpus.py recordings/ work/

Folders name the sounds, as in `recordings/dog_bark/1.wav`, or their role, as in `recordings/noise/fan.wav`.
"""

import sys
from pathlib import Path

import soundflow as sf

RECIPE = """\
clips: clips            # the clip index, relative to this file
seed: 7                 # the same recipe, clips and seed always give the same bytes
streams: 8
shards: 2
tasks:                  # list all: soundflow tasks
  event_description: 2  # name every sound when it has ended
  proactive_respond: 1  # respond to hazards, stay silent otherwise
scene:
  events: [2, 4]        # sounds in the foreground of each stream
"""


def main(recordings: Path, work: Path) -> None:
    """Index, build, verify, read."""
    # 1. Every recording is checked, cleaned and measured once. The index is a table of the resulting clips.
    print(sf.index_clips([recordings], work / "clips").describe())

    # 2. The recipe decides everything else. `executor="inline"` uses this process instead of Ray.
    recipe = work / "corpus.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    status = sf.build(recipe, work / "corpus", executor="inline")
    print(f"{status.streams} streams, {status.hours * 60:.1f} minutes of audio")

    # 3. Every committed byte is checked, and two streams are planned and rendered again.
    report = sf.verify(work / "corpus", sample=2)
    print("verified" if report.ok else report.problems)

    # 4. A stream is minutes of audio with a decision per 400 ms chunk: stay silent, or respond with a text.
    for stream in sf.open_corpus(work / "corpus"):
        print(f"\n{stream.key}: {stream.plan.task}, {stream.audio.size / 16_000:.1f} s, {stream.tokens.x.size} tokens")
        print(f"  instruction: {stream.plan.instruction}")
        for chunk, text in stream.timeline:
            print(f"  {chunk * 0.4:6.1f} s: {text}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
