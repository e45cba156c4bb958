"""Texts of strangers in the card and the tables of an export."""

from __future__ import annotations

import csv
import io
import re

import pytest
from markdown_it import MarkdownIt

from soundflow.pipeline.export.escaping import csv_cell, markdown_text

TEXTS = [
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "[a]: https://evil.example",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<https://evil.example>",
    "a | b | c",
    "`code` and ``more``",
    "*bold* **very** _so_ __much__ ~~gone~~",
    "back\\slash \\| \\[",
    "&lt;b&gt; &copy; &#60;",
    "line\nbreak\r\n# heading",
    "$x$ and $$y$$",
    "snake_case by Ann_B",
    "Łukasz 'n' \"Zoë\" – 100 %",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("frame", ["{}", "# {}", "| a |\n|---|\n| {} |"])
def test_a_text_is_shown_as_it_is_and_nothing_else(text: str, frame: str) -> None:
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(frame.format(markdown_text(text)))
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {"p", "h1", "table", "thead", "tbody", "tr", "th", "td"}, html
    shown = re.sub(r"<[^>]+>", "\n", html).strip().split("\n")[-1]
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, character)
    assert shown == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n@x",
        " =1",
        "＝1",
        "|x",
        "%x",
        '=HYPERLINK("https://e.x")',
    ],
)
def test_a_formula_becomes_text(text: str) -> None:
    file = io.StringIO()
    csv.writer(file).writerow([csv_cell(text)])
    ((cell,),) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert cell == f"'{text}"


@pytest.mark.parametrize("value", ["CC-BY-4.0", "Ann = Bob", "a-b", "", "12", -3, -1.5, None])
def test_other_cells_are_left_alone(value: object) -> None:
    assert csv_cell(value) == value
