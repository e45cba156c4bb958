"""`soundflow report`: write one self-contained HTML page about a build. It loads nothing from the network and has no date."""

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

    `samples`: maximum number of streams that can be played. Raises InputError when there is no build or no committed stream.
    """
    build = BuildDir(build_dir)
    page = render_page(build, samples)
    path = out or build_dir / "report.html"
    write_atomic(path, page.encode())
    return path


def render_page(build: BuildDir, samples: int) -> str:
    """Return the page: template, style, script and data in one document."""
    parts = resources.files("soundflow.pipeline.report")
    # Labels and captions are untrusted. Inside a script element only `<` can end the data early.
    data = json.dumps(collect(build, samples), ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")
    template = jinja2.Environment(autoescape=True).from_string((parts / "page.html").read_text(encoding="utf-8"))
    return template.render(
        name=build.record().recipe.name,
        style=(parts / "page.css").read_text(encoding="utf-8"),
        script=(parts / "page.js").read_text(encoding="utf-8"),
        data=data,
    )
