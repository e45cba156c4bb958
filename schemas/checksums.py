"""SHA-256 of files, and the file `SHA256SUMS` of a folder, in the format of `sha256sum`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from soundflow.schemas.errors import InputError
from soundflow.schemas.regular_file import open_regular, read_regular

SUMS: Final = "SHA256SUMS"
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([^/\n\0]+)\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a regular file. Raises OSError, also for anything else, which is never opened."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the SHA-256 of the files `names` of `folder` to its `SHA256SUMS`. `sha256sum -c SHA256SUMS` checks them, too."""
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in sorted(names)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def check_sums(folder: Path, remedy: str) -> frozenset[str]:
    """Compare the files of `folder` with its `SHA256SUMS`; return the names it lists, none if there is no such file.

    Raises InputError with the name of the first file that is missing or differs. A changed `SHA256SUMS` is found too: every line
    must have the format of `sha256sum`, and every file that it names must exist.
    """
    path = folder / SUMS
    try:
        text = read_regular(path).decode()
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the checkpoint is damaged: cannot be read: {error}", file=path, remedy=remedy) from None
    lines = _LINE.findall(text)
    if not lines or "".join(f"{digest}  {name}\n" for digest, name in lines) != text:
        raise InputError("the checkpoint is damaged: not a list of SHA-256 digests and file names", file=path, remedy=remedy)
    for digest, name in lines:
        check_sha256(folder / name, digest, remedy)
    return frozenset(name for _, name in lines)


def check_sha256(path: Path, digest: str, remedy: str) -> None:
    """Raise InputError, with the name of the file, unless its SHA-256 is `digest`."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise InputError(f"the checkpoint is damaged: {error.strerror}", file=path, remedy=remedy) from None
    if found != digest:
        why = "the checkpoint is damaged: the SHA-256 of this file differs from the recorded one"
        raise InputError(why, file=path, remedy=remedy)
