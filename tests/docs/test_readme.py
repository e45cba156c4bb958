"""The README is for someone who has three minutes."""

from __future__ import annotations

from tests.support import ROOT


def test_the_readme_is_short() -> None:
    readme = (ROOT / "README.md").read_bytes()
    assert len(readme.splitlines()) <= 200 and len(readme) <= 12 * 1024


def test_the_readme_explains_the_terms_where_they_first_appear() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").replace("**", "").split())
    explained = {
        "TFJP": "TFJP, time-frequency joint preprocessing",
        "FIFO": "first-in-first-out queue (FIFO)",
        "L_stream": "L_stream for the decision in each chunk",
        "grounding": "grounding finds or generates a clip",
        "role": "say where a clip may play",
    }
    for term, words in explained.items():
        assert words in readme and readme.index(term.capitalize() if term == "role" else term) >= readme.index(words) - 10, term
