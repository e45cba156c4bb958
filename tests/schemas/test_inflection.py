"""Inflections of the words of the taxonomy."""

from __future__ import annotations

import pytest

from soundflow.schemas.inflection import base_forms, inflections


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("scream", "screams screaming screamed"),
        ("cry", "cries crying cried"),
        ("sob", "sobs sobbing sobbed"),
        ("choke", "chokes choking choked"),
        ("crash", "crashes crashing crashed"),
        ("screech", "screeches screeching screeched"),
        ("skid", "skids skidding skidded"),
        ("click", "clicks clicking clicked"),
        ("drum", "drums drumming drummed"),
        ("wave", "waves waving waved"),
        ("goose", "geese"),
        ("break", "breaks breaking broke broken"),
        ("baby", "babies baby's"),
        ("snare", "snares"),
        ("drizzle", "drizzles drizzling drizzled"),
    ],
)
def test_a_word_has_its_regular_and_irregular_forms(word: str, forms: str) -> None:
    assert {word, *forms.split()} <= inflections(word)


def test_forms_of_other_words_are_not_among_them() -> None:
    """A stemmer takes these for inflections of the listed words."""
    bases = base_forms(["fire", "wave", "phone", "pain", "horn", "ring"])
    assert not set("fir wav phon painting hornet string earring fireworks firefly headphones".split()) & bases.keys()


def test_a_listed_word_stands_for_itself() -> None:
    assert base_forms(["spark", "sparks"])["sparks"] == "sparks"
