"""A corpus in an object store, by fsspec: shards are made on a node's own disk and committed there by a conditional write.

`URL/build.json`, `URL/data/…tar` and `URL/manifest/NNNNNN.json` as in a build directory. The tar is put first, then the manifest
with if-none-match: of two machines with the same shard one commits, the other's tar is garbage. So a shard counts if and only if
its manifest is there. What it needs beside its tar is put first (`pipeline.build.store_beside`). Credentials and endpoints are fsspec's
and the provider's own (`AWS_ENDPOINT_URL`, …).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from soundflow.pipeline.corpus.build_dir import BuildDir
from soundflow.schemas.base import InputError
from soundflow.schemas.recipe import Recipe
from soundflow.schemas.shard import BuildRecord, BuildStatus, ShardCounts, ShardEntry, ShardManifest

READ_AT_ONCE: Final = 2000
"""Manifests asked for together."""
REFUSED: Final = ("PreconditionFailed", "412")
"""There is one: of servers that do not say which condition it was, s3fs makes no FileExistsError."""
CONFLICT: Final = "ConditionalRequestConflict"
"""S3's 409: another write of this object was going on, try again."""
_MANIFEST: Final = re.compile(r"manifest/([0-9]{6})\.json$")


class ObjectStore:
    """One corpus at a URL. Pickles as the URL."""

    def __init__(self, url: str):
        """Raises InputError when fsspec knows no such protocol, or the driver for it is not installed."""
        self.url = url.rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            remedy = "s3:// needs pip install 'soundflow-audio[s3]', others fsspec's driver of that name"
            raise InputError(f"is no place fsspec can write to: {error}", field="--store", value=url, remedy=remedy) from None
        if isinstance(self._fs, LocalFileSystem):  # whose writes are not all or nothing: the commit would not hold
            raise InputError("is a folder, no object store", field="--store", value=url, remedy="Name folders with -o")

    def __reduce__(self) -> tuple[Any, ...]:
        return (ObjectStore, (self.url,))

    def open(self, record: BuildRecord) -> None:
        """Begin, or go on with, a build there. InputError when the store holds another build."""
        if self._create("build.json", record.canonical_json()):
            if self._create("build.json", record.canonical_json()):
                why = "overwrites what it should not: it takes no conditional writes (if-none-match), so commits would not hold"
                raise InputError(why, field="--store", value=self.url, remedy="Take a server that does, or build with -o alone")
            return
        there = self.record()
        if (there.fingerprint, there.virtual) != (record.fingerprint, record.virtual):
            why = f"holds another build ({there.fingerprint[:12]}, this one is {record.fingerprint[:12]})"
            raise InputError(why, field="--store", value=self.url, remedy="Choose another place")

    def record(self) -> BuildRecord:
        """What is being built there; InputError when nothing is."""
        try:
            return BuildRecord.from_json(self._fs.cat_file(self._at("build.json")), file=self.url)
        except FileNotFoundError:
            raise InputError("holds no build", field="--store", value=self.url, remedy="Check the address") from None
        except (OSError, InputError):
            raise
        except Exception as error:  # a driver's own, such as botocore's of an endpoint that does not answer
            raise OSError(f"{self.url} cannot be reached: {error}") from error

    def pending(self, recipe: Recipe) -> list[int]:
        """Shards without a manifest there, in order. One listing."""
        there = set(self.shards())
        return [shard for shard in range(recipe.shards) if shard not in there]

    def commit(self, build: BuildDir, manifest: ShardManifest) -> bool:
        """Put a shard of the local `build` there, then its manifest; False when another was first. Raises OSError."""
        name = f"data/{manifest.tar}"
        self._fs.put_file(str(build.data / manifest.tar), self._at(name))
        size = self._fs.info(self._at(name))["size"]
        if size != manifest.bytes:
            raise OSError(f"{self.url}/{name} has {size} bytes after it was put there, the shard has {manifest.bytes}")
        return self._create(f"manifest/{manifest.shard:06d}.json", manifest.canonical_json())

    def status(self) -> BuildStatus:
        """What is there. Reads every manifest."""
        record = self.record()
        entries = list(self.entries())
        return BuildStatus(
            fingerprint=record.fingerprint,
            shards=ShardCounts(planned=record.recipe.shards, committed=len(entries), failed=0),
            streams=sum(len(entry.keys) for entry in entries),
            hours=sum(entry.seconds for entry in entries) / 3600,
            rejected=sum(len(entry.rejected) for entry in entries),
            quarantined=sum(len(entry.quarantined) for entry in entries),
        )

    def entries(self) -> Iterator[ShardEntry]:
        """Manifests, in order."""
        paths = [self._at(f"manifest/{shard:06d}.json") for shard in self.shards()]
        for at in range(0, len(paths), READ_AT_ONCE):
            found = self._fs.cat(paths[at : at + READ_AT_ONCE])
            yield from (ShardEntry.model_validate_json(found[path]) for path in paths[at : at + READ_AT_ONCE])

    def shards(self) -> list[int]:
        """The committed shards, in order. One listing."""
        return sorted(int(match[1]) for path in self._fs.find(self._at("manifest")) if (match := _MANIFEST.search(path)))

    def download(self, name: str, to: Path) -> None:
        """Copy a whole object to a file."""
        self._fs.get_file(self._at(name), str(to))

    def keep(self, name: str, read: Callable[[], bytes]) -> None:
        """See that there is an object `name` with what `read` gives. Raises OSError when there is one with other content."""
        if name.startswith("clips/") and self._fs.exists(self._at(name)):
            return  # named by its content
        data = read()
        if not self._create(name, data) and self.read(name) != data:
            remedy = "a curated build has one -o that all its machines see; remove it and build again to go on with the store's"
            raise OSError(f"{self.url}/{name} was made otherwise by another machine: {remedy}")

    def read(self, name: str) -> bytes:
        """A whole object; FileNotFoundError when there is none."""
        return bytes(self._fs.cat_file(self._at(name)))

    def names(self, folder: str) -> list[str]:
        """Objects below a folder, sorted, as `keep` and `read` call them."""
        return sorted(path.removeprefix(f"{self._root}/") for path in self._fs.find(self._at(folder)))

    def _create(self, name: str, data: bytes) -> bool:
        """Write a whole object unless there is one; True when ours is the one."""
        for pause in (0.1, 0.3, 1.0, 3.0, None):
            try:
                self._fs.pipe_file(self._at(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                told: dict[str, Any] = getattr(error.__cause__, "response", {})
                code = told.get("Error", {}).get("Code")
                if code in REFUSED:
                    return False
                if pause is None or code != CONFLICT:
                    raise
                time.sleep(pause)
            else:
                return True
        raise AssertionError("unreachable")

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"
