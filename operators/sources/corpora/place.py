"""Where a corpus lies: a folder on any file system fsspec knows. Nothing here holds more than one folder's names."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from soundflow.schemas.base import InputError


@dataclass(frozen=True)
class Place:
    """The root of a corpus. Paths are relative to it, with `/`."""

    url: str
    fs: fsspec.AbstractFileSystem
    root: str

    @classmethod
    def of(cls, url: str) -> Place:
        """The folder at a path or URL (`s3://…`). Raises InputError when there is none."""
        try:
            fs, root = fsspec.core.url_to_fs(url)
            there = fs.isdir(root)
        except (ImportError, ValueError, OSError) as error:
            raise InputError(f"cannot be reached: {error}", file=url) from None
        if not there:
            raise InputError("no such folder", file=url, remedy="Give the folder the corpus was unpacked or downloaded into")
        return cls(url, fs, root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether its files have paths on this machine."""
        return isinstance(self.fs, LocalFileSystem)

    def path(self, relative: str) -> str:
        """What the file system calls a file."""
        return f"{self.root}/{relative}"

    def shown(self, relative: str) -> str:
        """What people call it."""
        return f"{self.url.rstrip('/')}/{relative}"

    def has(self, relative: str) -> bool:
        """Whether the file is there."""
        return bool(self.fs.isfile(self.path(relative)))

    def folder(self, relative: str) -> list[tuple[str, bool]]:
        """Names in one folder, sorted, and whether each is a folder itself; nothing when it is not there."""
        path = self.path(relative).rstrip("/")
        try:
            if self.is_local:  # a million names cost a tenth of a million entries with size and time
                with os.scandir(path) as entries:
                    return sorted((entry.name, entry.is_dir()) for entry in entries if not _leads_back(entry))
            listed = self.fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(f"cannot be listed: {error.strerror or error}", file=self.shown(relative)) from None
        return sorted((str(entry["name"]).rstrip("/").rpartition("/")[2], entry["type"] == "directory") for entry in listed)

    def find(self, pattern: str) -> Iterator[str]:
        """Files that match, sorted, a folder at a time. `*`, `?` and `[…]` stay within a name; `**` is any number of folders."""
        yield from self._find("", pattern.split("/"))

    def _find(self, below: str, parts: list[str]) -> Iterator[str]:
        first, rest = parts[0], parts[1:]
        if first == "**":
            yield from self._find(below, rest)
        elif not re.search(r"[*?[]", first):
            here = f"{below}{first}"
            if rest:
                yield from self._find(f"{here}/", rest)
            elif self.has(here):
                yield here
            return
        for name, is_folder in self.folder(below):
            if name.startswith("."):
                continue
            matches = first != "**" and fnmatch.fnmatchcase(name, first)
            if (matches or (is_folder and first == "**")) and not is_utf8(name):
                shown = self.shown(below) + name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                raise InputError("the name is not UTF-8", file=shown, remedy="Rename it: manifests are UTF-8")
            if is_folder:
                if first == "**":
                    yield from self._find(f"{below}{name}/", parts)
                elif rest and matches:
                    yield from self._find(f"{below}{name}/", rest)
            elif not rest and matches:
                yield f"{below}{name}"

    def open(self, relative: str) -> IO[bytes]:
        """The bytes of a file, to be read on. Raises InputError when it cannot be opened."""
        try:
            return cast("IO[bytes]", self.fs.open(self.path(relative), "rb"))
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", file=self.shown(relative)) from None


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to a folder it lies in: to follow it has no end."""
    if not entry.is_symlink() or not entry.is_dir():
        return False
    there, here = os.path.realpath(entry.path), os.path.realpath(os.path.dirname(entry.path))  # noqa: PTH120
    return f"{here}/".startswith(f"{there.rstrip('/')}/")


def is_utf8(words: str) -> bool:
    """Whether a name, or a text read with `surrogateescape`, was UTF-8."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True
