"""The pages of the documentation, their fenced blocks, and the commands that these show."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from tests.support import ROOT

TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in TOP)])
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it."""

    where: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def name_of(page: Path) -> str:
    """The path of a page below the root of the project."""
    return page.relative_to(ROOT).as_posix()


@functools.cache
def blocks(language: str) -> tuple[Block, ...]:
    """All fenced blocks of a language."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match["language"] == language:
                found.append(Block(name_of(page), text.count("\n", 0, match.start()) + 1, language, match["text"]))
    return tuple(found)


def without_blocks(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def split(script: str) -> Iterator[tuple[str, ...]]:
    """The simple commands of a script: continued lines are joined, comments and redirections dropped, lists and pipes apart."""
    for line in script.replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            continue
        reader = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        reader.whitespace_split, reader.commenters = True, "#"
        words: list[str] = []
        for word in (*reader, ";"):
            if word in (";", "&&", "|", "&", "||"):
                if words:
                    yield tuple(words[: words.index(">")] if ">" in words else words)
                words = []
            else:
                words.append(word)


@functools.cache
def shown_commands() -> tuple[Shown, ...]:
    """Every command in a bash block."""
    return tuple(Shown(str(block), words) for block in blocks("bash") for words in split(block.text))


@functools.cache
def inline_commands() -> tuple[Shown, ...]:
    """Everything in backticks that begins like a command of ours; it may be the beginning of a command only."""
    found = []
    for page in PAGES:
        for code in re.findall(r"`([^`\n]+)`", without_blocks(page.read_text(encoding="utf-8"))):
            if re.match(r"soundflow \S|make \S|python -m soundflow", code) and "…" not in code.split()[1:2]:
                found += [Shown(name_of(page), words) for words in split(code.replace("…", ""))]
    return tuple(found)


@functools.cache
def every_command() -> dict[str, Any]:
    """`clips index` → its command, for all commands of the app, hidden ones included."""
    found: dict[str, Any] = {}

    def visit(path: tuple[str, ...], command: Any) -> None:
        found[" ".join(path)] = command
        for name, inner in getattr(command, "commands", {}).items():
            visit((*path, name), inner)

    from soundflow.cli.app import app

    visit((), get_command(app))
    return found


def after_soundflow(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """What follows the word `soundflow` of a command, also behind `torchrun -m` or `srun`; None for other commands."""
    starts = [
        place for place, word in enumerate(words) if word == "soundflow" and words[place - 1 : place] in ((), ("-m",), ("--",))
    ]
    return words[starts[0] + 1 :] if starts else None


def called(arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The longest command that the arguments begin with, such as `clips index`, and the arguments left for it."""
    known, path = every_command(), ""
    for place, word in enumerate(arguments):
        longer = f"{path} {word}".strip()
        if longer not in known:
            return path, arguments[place:]
        path = longer
    return path, ()


def misuse(arguments: tuple[str, ...], whole: bool = True) -> str:
    """What is wrong with the arguments of `soundflow`; empty when nothing is. `whole`: nothing required may be missing."""
    path, rest = called(arguments)
    command = every_command()[path]
    if getattr(command, "commands", {}):
        options = {"-h", "--help"}.union(*(one.opts for one in command.params))
        return "" if (rest[0] in options if rest else not whole) else f"no command {' '.join(arguments)}"
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts) if name.startswith("-")}
    places = [one for one in command.params if not one.opts[0].startswith("-")]
    seen, values, waiting = set[str](), 0, list(rest)
    while waiting:
        word = waiting.pop(0)
        name, equals, _ = word.partition("=")
        if word == "--help":
            return ""
        if not word.startswith("-") or word == "-":
            values += 1
        elif name not in options:
            return f"{path}: no option {name}"
        else:
            seen.add(options[name].name)
            if not options[name].is_flag and not equals and not (waiting.pop(0) if waiting else not whole):
                return f"{path}: {name} lacks its value"
    if values > len(places) and not any(place.nargs == -1 for place in places):
        return f"{path}: {values} arguments, it takes {len(places)}"
    missing = [name for name, one in options.items() if one.required and one.name not in seen]
    if whole and (missing or values < sum(place.required for place in places)):
        return f"{path}: lacks {', '.join(missing) or 'an argument'}"
    return ""
