"""Links inside the documentation lead somewhere, without mkdocs too; paths and environment variables that it names exist."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, name_of, without_blocks
from tests.support import ROOT

ROOMS = "schemas prompts operators backends pipeline model training streaming bench soundflow tests deploy examples docs".split()
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_PATH = re.compile(rf"`((?:{'|'.join(ROOMS)}|\.ci|\.github)/(?!\d)[^`\s]*)`")


@functools.cache
def anchors(page: Path) -> set[str]:
    """The names that mkdocs and GitHub give the headings of a page."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", without_blocks(page.read_text(encoding="utf-8")), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for match in _LINK.finditer(without_blocks(page.read_text(encoding="utf-8"))):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            broken.append(match["target"])
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_of_the_project_exist(page: Path) -> None:
    named = _PATH.findall(without_blocks(page.read_text(encoding="utf-8")))
    assert not [path for path in named if not list(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_in_running_text_exist(page: Path) -> None:
    """`soundflow.schemas.stream.timeline_of`: the module is there, and has the name."""
    for dotted in re.findall(r"`(soundflow(?:\.\w+){2,})`", without_blocks(page.read_text(encoding="utf-8"))):
        parts = dotted.split(".")
        for size in (len(parts), len(parts) - 1):
            path = ROOT.joinpath(*parts[:size])
            if path.is_dir() or path.with_suffix(".py").is_file():
                break
        else:
            pytest.fail(dotted)
        if size < len(parts):
            source = path.with_suffix(".py").read_text(encoding="utf-8")
            assert re.search(rf"^(?:async def|def|class) {parts[-1]}\b|^{parts[-1]}\b", source, re.MULTILINE), dotted


def test_environment_variables_are_read_somewhere() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"SOUNDFLOW_[A-Z_]+", text))
    code = subprocess.run(["git", "grep", "-hoE", "SOUNDFLOW_[A-Z_]+", "--", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if code.returncode:
        pytest.skip("not a git checkout")
    assert named <= set(code.stdout.split()), named


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"- (\S+\.md)$", navigation, re.MULTILINE)) == pages
