"""Ids to rows and back, compact and as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.model.vocabulary import AUDIO_ROW, StreamingConfig, Vocabulary
from soundflow.schemas.base import InputError
from soundflow.schemas.tokens import AUTHORS, LAYOUTS, SOUNDFLOW, TEXT_VOCABULARY, TokenLayout

layouts = st.sampled_from(list(LAYOUTS.values()))
text = st.integers(0, TEXT_VOCABULARY - 1)


@given(layout=layouts, known=st.sets(text, max_size=20), data=st.data())
def test_known_ids_come_back(layout: TokenLayout, known: set[int], data: st.DataObject) -> None:
    vocabulary = Vocabulary(layout, sorted(known))
    ids = data.draw(st.lists(st.sampled_from(sorted(known | layout.control_ids())), max_size=30))
    rows = vocabulary.rows(ids)
    assert vocabulary.ids(rows) == ids
    assert vocabulary.compact_rows is not None and all(0 <= row < vocabulary.compact_rows for row in rows)


@given(known=st.sets(text, max_size=20), texts=st.lists(text, max_size=20))
def test_text_without_a_row_is_unknown_and_never_another_text(known: set[int], texts: list[int]) -> None:
    vocabulary = Vocabulary(SOUNDFLOW, sorted(known))
    rows = vocabulary.rows(texts)
    assert [row == vocabulary.unknown_row for row in rows] == [id_ not in known for id_ in texts]
    assert vocabulary.ids(rows) == [id_ for id_ in texts if id_ in known]


@given(layout=layouts, texts=st.lists(text, max_size=20))
def test_a_whole_vocabulary_uses_ids_as_they_are(layout: TokenLayout, texts: list[int]) -> None:
    ids = [*texts, *sorted(layout.control_ids())]
    vocabulary = Vocabulary(layout, None)
    assert vocabulary.ids(vocabulary.rows(ids)) == ids
    assert vocabulary.rows(texts).tolist() == [AUDIO_ROW if id_ == layout.audio else id_ for id_ in texts]


def test_audio_has_its_place_and_no_row() -> None:
    for text_ids in (None, (1, 2)):
        assert Vocabulary(AUTHORS, text_ids).rows(np.array([AUTHORS.audio])).tolist() == [AUDIO_ROW]


@pytest.mark.parametrize("stray", [-1, TEXT_VOCABULARY, 151_700])
def test_an_id_of_another_layout_is_refused(stray: int) -> None:
    with pytest.raises(ValueError, match=f"id {stray} is neither text nor part of layout soundflow/1"):
        Vocabulary(SOUNDFLOW, None).rows([5, stray])


def test_a_model_of_another_front_end_is_refused() -> None:
    config = StreamingConfig(layout="soundflow/1", front_end="whisper/1")
    with pytest.raises(InputError, match=r"front_end: .*whisper/1"):
        Vocabulary.of(config)


def test_chunk_sizes_of_the_ablation_have_whole_slots() -> None:
    configs = [StreamingConfig(layout="soundflow/1", chunk_frames=frames) for frames in (20, 40, 60, 80)]
    assert [(config.chunk_samples, config.slots) for config in configs] == [(3200, 5), (6400, 10), (9600, 15), (12800, 20)]
