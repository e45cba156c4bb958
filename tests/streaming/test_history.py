"""Earlier sounds and responses can be asked for later, across re-anchoring: with a small model that learned to answer.

Sounds are vectors. The model is trained here, in seconds, to name a dog or a cat and to answer a question with the last name it
gave, or `nothing`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from soundflow.model.thinker import StreamingThinker
from soundflow.streaming.events import Event, ListenConfig, Reanchored, ResponseDone
from soundflow.streaming.listener import Listener
from soundflow.training.sequences import Turns, Window, encode_window
from tests.streaming.conftest import TOKENIZER, play
from tests.training.world import pico

NAMES = ("dog", "cat", "nothing")
QUIET, DOG, CAT, QUESTION = range(4)
ASK = "Name sounds."
SLOTS, WIDTH, STEPS, STREAMS = 5, 32, 200, 32
WINDOW = ListenConfig(window_chunks=8, keep_chunks=4)


def sounds(kinds: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Features (n, slots, width): one pattern a kind, with noise."""
    patterns = torch.randn(4, SLOTS, WIDTH, generator=torch.Generator().manual_seed(0))
    return patterns[kinds] + 0.5 * torch.randn(len(kinds), SLOTS, WIDTH, generator=generator)


def stream(rng: np.random.Generator) -> tuple[np.ndarray, Turns]:
    """A window of a stream and its responses; half of them remember lines from before it."""
    kinds = rng.choice(4, p=[0.4, 0.15, 0.15, 0.3], size=int(rng.integers(2, 9)))
    head, last, responses = ASK, 2, []
    if rng.random() < 0.5:
        time, head = 0.2 * int(rng.integers(1, 50)), head + "\nSaid before:"
        for last in rng.integers(0, 2, int(rng.integers(1, 3))):
            head += f"\n{time:.1f} s: {NAMES[last]}"
            time += 0.2 * int(rng.integers(1, 6))
    for kind in kinds:
        last = kind - 1 if kind in (DOG, CAT) else last
        responses.append(None if kind == QUIET else tuple(TOKENIZER.encode(NAMES[last])))
    return kinds, Turns("soundflow/1", tuple(TOKENIZER.encode(head)), tuple(responses))


@pytest.fixture(scope="module")
def model() -> StreamingThinker:
    known = TOKENIZER.encode(f"{ASK}\nSaid before:\n0123456789.1 s: dog\n2.3 s: cat\n4.5 s: nothing dog cat nothing")
    learner = pico(tuple(sorted({*known, *(id_ for name in NAMES for id_ in TOKENIZER.encode(name))})), seed=1, chunk_frames=20)
    rng, generator, layout = np.random.default_rng(0), torch.Generator().manual_seed(1), learner.vocabulary.layout
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, (n + 1) / 20, (STEPS - n) / (0.4 * STEPS)))
    for _ in range(STEPS):
        rows, labels, audio = [], [], []
        for kinds, turns in (stream(rng) for _ in range(STREAMS)):
            whole = Turns(turns.layout, (*layout.prefix, *turns.head, *layout.prefix_end), turns.responses)
            example = encode_window(whole, Window(0, len(kinds) - 1, 0), learner.vocabulary, SLOTS)
            rows.append(torch.from_numpy(example.rows))
            labels.append(torch.from_numpy(np.where(example.y_lm != -100, example.y_lm, example.y_stream)))
            audio.append(sounds(kinds, generator))
        targets = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)[:, 1:]
        embedded = learner.embed(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.cat(audio))
        labelled = targets != -100
        loss = functional.cross_entropy(learner.logits(learner.hidden(embedded)[:, :-1][labelled]), targets[labelled])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert float(loss.detach()) < 0.1
    return learner.eval()


def answers(model: StreamingThinker, kinds: list[int], config: ListenConfig) -> tuple[list[Event], list[str]]:
    """Events, and the texts of the responses."""
    events = play(
        Listener(model, TOKENIZER, ASK, config), sounds(np.array(kinds), torch.Generator().manual_seed(7)), [1] * len(kinds)
    )
    return events, [event.text for event in events if isinstance(event, ResponseDone)]


@pytest.mark.parametrize(("sound", "name"), [(DOG, "dog"), (CAT, "cat")])
@pytest.mark.parametrize("at", [5, 6, 7])
def test_an_answer_from_inside_the_window_survives_re_anchoring(model: StreamingThinker, sound: int, name: str, at: int) -> None:
    kinds = [QUIET] * 10
    kinds[at - 1], kinds[-1] = sound, QUESTION
    events, texts = answers(model, kinds, WINDOW)
    reanchored = [event.chunk for event in events if isinstance(event, Reanchored)]
    assert reanchored == [5]  # when the ninth chunk came: chunks 5 to 8 stay
    assert texts == [name, name]


@pytest.mark.parametrize(("sound", "name"), [(DOG, "dog"), (CAT, "cat")])
def test_what_left_the_window_is_forgotten_unless_a_summary_of_it_is_kept(model: StreamingThinker, sound: int, name: str) -> None:
    kinds = [QUIET, sound, *[QUIET] * 9, QUESTION]
    assert answers(model, kinds, WINDOW)[1] == [name, "nothing"]
    assert answers(model, kinds, WINDOW.model_copy(update={"remember_tokens": 40}))[1] == [name, name]


def test_the_summary_holds_the_newest_that_fits_in_order_and_only_what_left(model: StreamingThinker) -> None:
    kinds = [DOG, CAT, *[QUIET] * 4, DOG, *[QUIET] * 4]
    listener = Listener(model, TOKENIZER, ASK, WINDOW.model_copy(update={"remember_tokens": 12}))
    play(listener, sounds(np.array(kinds), torch.Generator().manual_seed(7)).numpy(), [1] * len(kinds))
    rows = listener.decoder._head
    head = TOKENIZER.decode([id_ for id_ in model.vocabulary.ids(rows) if id_ < 151_643])
    assert head.endswith("\nSaid before:\n0.4 s: cat") and "dog" not in head
    assert len(TOKENIZER.encode("\n0.4 s: cat")) <= 12 < 2 * len(TOKENIZER.encode("\n0.4 s: cat"))
