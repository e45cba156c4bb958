"""What docs/generate.py writes is up to date."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_references_and_examples_are_up_to_date(generate: ModuleType) -> None:
    pages = generate.generated()
    stale = [path.name for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    assert not stale, "run: python docs/generate.py"
    assert {path.name for path in pages} >= {"cli.md", "recipe.md", "stage.md", "speech.md", "python.md"}


def test_a_changed_field_changes_the_reference(generate: ModuleType) -> None:
    from pydantic import Field

    from soundflow.schemas.base import Schema

    class Small(Schema):
        """A model with one field."""

        width: int = Field(3, ge=1, le=9)
        """How wide, in columns."""

    page = generate.schema_page(Small, "Small", "")
    assert "| `width` | integer ≥ 1, ≤ 9 | `3` | How wide, in columns. |" in page
