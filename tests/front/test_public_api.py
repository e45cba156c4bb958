"""`import soundflow as sf`: cheap, complete, typed, and helpful when an optional package is missing."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys

import pytest

import soundflow as sf
from tests.support import ROOT

SOURCE = (ROOT / "soundflow" / "__init__.py").read_text(encoding="utf-8")


def test_the_import_loads_nothing_but_the_package_itself() -> None:
    code = "import sys; before = set(sys.modules); import soundflow; print(sorted(set(sys.modules) - before))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, timeout=60)
    loaded = ast.literal_eval(done.stdout)
    assert "soundflow" in loaded
    assert not [
        name
        for name in loaded
        if name.startswith("soundflow.") or name.partition(".")[0] not in sys.stdlib_module_names | {"soundflow"}
    ]


def test_every_public_name_is_there_and_documented() -> None:
    assert set(sf.__all__) == {"__version__", *sf._MODULES} and sorted(sf.__all__) == sf.__all__
    for name in sf._MODULES:
        value = getattr(sf, name)
        assert value is getattr(importlib.import_module(f"soundflow.{sf._MODULES[name]}"), name)
        assert inspect.getdoc(value), name
        assert name in dir(sf)


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    block = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert seen == {name: f"soundflow.{module}" for name, module in sf._MODULES.items()}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'soundflow' has no attribute 'bulid'"):
        sf.bulid  # noqa: B018


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_torch(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.delitem(vars(sf), "StreamingThinker", raising=False)
    monkeypatch.setattr(importlib, "import_module", without_torch)
    with pytest.raises(ImportError, match=r"StreamingThinker needs the package torch: pip install 'soundflow-audio\[train\]'"):
        sf.StreamingThinker  # noqa: B018
