"""`soundflow report`: one self-contained page about a build. No file beside it, no network, no date."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jinja2

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.pipeline.report.data import collect
from soundflow.schemas.atomic_file import write_atomic


def write_report(build_dir: Path, out: Path | None = None, samples: int = 8) -> Path:
    """Write the page for the build in `build_dir` to `out` (default: `build_dir`/report.html) and return its path.

    `samples` streams can be heard and seen. Raises InputError when there is no build or nothing is committed.
    """
    build = BuildDir(build_dir)
    page = render_page(build, samples)
    path = out or build_dir / "report.html"
    write_atomic(path, page.encode())
    return path


def render_page(build: BuildDir, samples: int) -> str:
    """The page as text: template, style, script and data in one."""
    parts = resources.files("soundflow.pipeline.report")
    # In a script element only `<` can end the data early; labels and captions are anybody's text.
    data = json.dumps(collect(build, samples), ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")
    template = jinja2.Environment(autoescape=True).from_string((parts / "page.html").read_text(encoding="utf-8"))
    return template.render(
        name=build.record().recipe.name,
        style=(parts / "page.css").read_text(encoding="utf-8"),
        script=(parts / "page.js").read_text(encoding="utf-8"),
        data=data,
    )
