"""A corpus in an object store, accessed through fsspec. Shards are made on a node's own disk and committed by a conditional
write.

The layout is that of a build directory, with the companions of shards under names that never change their content:

    URL/build.json                        what is being built
    URL/data/shard-NNNNNN-<sha12>.tar     shards
    URL/manifest/NNNNNN.json              commits
    URL/scenes/NNNNNN-<sha12>.json        the scene sheet a shard was rendered from
    URL/made/…                            made clips of the streams
    URL/quarantine/…                      samples that failed
    URL/clips/ab/<sha256>.pcm             cleaned clips of a virtual build

The tar and its companions are uploaded first, then the manifest with if-none-match: of two machines that make the same shard one
commits, and the other's tar is garbage. A shard counts if and only if its manifest exists. Credentials and endpoints are
configured as for fsspec and the provider (`AWS_ENDPOINT_URL`, …).
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

READ_BATCH: Final = 2000
"""Manifests requested at once."""
EXISTS: Final = ("PreconditionFailed", "412")
"""Error codes for an object that exists. s3fs raises FileExistsError only if the server names the failed condition."""
CONFLICT: Final = "ConditionalRequestConflict"
"""S3's 409: another write of the same object was in progress; the request has to be repeated."""
_MANIFEST: Final = re.compile(r"manifest/([0-9]{6})\.json$")


class ObjectStore:
    """One corpus at a URL. Pickles as the URL."""

    def __init__(self, url: str):
        """Raises InputError if fsspec does not know the protocol or its driver is not installed."""
        self.url = url.rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            remedy = "For s3:// run pip install 'soundflow-audio[s3]'; other protocols need their fsspec driver"
            raise InputError(f"fsspec cannot open this URL: {error}", field="--store", value=url, remedy=remedy) from None
        if isinstance(self._fs, LocalFileSystem):  # its writes are not atomic, so a commit would not be either
            raise InputError("is a directory, not an object store", field="--store", value=url, remedy="Use -o for directories")

    def __reduce__(self) -> tuple[Any, ...]:
        return (ObjectStore, (self.url,))

    def open(self, record: BuildRecord) -> None:
        """Start or resume a build in the store. Raises InputError if the store holds another build."""
        if self._create("build.json", record.canonical_json()):
            if self._create("build.json", record.canonical_json()):
                why = "the store ignores conditional writes (if-none-match), so machines would overwrite each other's commits"
                remedy = "Use a store that supports conditional writes, or build into a directory with -o alone"
                raise InputError(why, field="--store", value=self.url, remedy=remedy)
            return
        existing = self.record()
        if (existing.fingerprint, existing.virtual) != (record.fingerprint, record.virtual):
            why = f"contains another build ({_describe(existing)}; this one is {_describe(record)})"
            raise InputError(why, field="--store", value=self.url, remedy="Choose another URL")

    def record(self) -> BuildRecord:
        """Return the record of the build in the store; InputError if there is none."""
        try:
            return BuildRecord.from_json(self._fs.cat_file(self._at("build.json")), file=self.url)
        except FileNotFoundError:
            raise InputError("contains no build", field="--store", value=self.url, remedy="Check the URL") from None
        except (OSError, InputError):
            raise
        except Exception as error:  # drivers raise types of their own, such as botocore's for an unreachable endpoint
            raise OSError(f"{self.url} cannot be reached: {error}") from error

    def pending(self, recipe: Recipe) -> list[int]:
        """Return the shards without a manifest, in order. One listing."""
        committed = set(self.shards())
        return [shard for shard in range(recipe.shards) if shard not in committed]

    def commit(self, build: BuildDir, manifest: ShardManifest) -> bool:
        """Upload a shard of the local `build`, then its manifest; False if the shard was committed before. Raises OSError."""
        name = f"data/{manifest.tar}"
        self._fs.put_file(str(build.data / manifest.tar), self._at(name))
        size = self._fs.info(self._at(name))["size"]
        if size != manifest.bytes:
            raise OSError(f"{self.url}/{name}: the upload is incomplete ({size} of {manifest.bytes} bytes)")
        return self._create(f"manifest/{manifest.shard:06d}.json", manifest.canonical_json())

    def status(self) -> BuildStatus:
        """Return the state of the corpus. Reads every manifest."""
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
        """Yield the committed shards in order."""
        paths = [self._at(f"manifest/{shard:06d}.json") for shard in self.shards()]
        for start in range(0, len(paths), READ_BATCH):
            found = self._fs.cat(paths[start : start + READ_BATCH])
            yield from (ShardEntry.model_validate_json(found[path]) for path in paths[start : start + READ_BATCH])

    def shards(self) -> list[int]:
        """Return the numbers of the committed shards, in order. One listing."""
        return sorted(int(match[1]) for path in self._fs.find(self._at("manifest")) if (match := _MANIFEST.search(path)))

    def manifest(self, shard: int) -> ShardManifest:
        """Return the manifest of a committed shard."""
        name = f"manifest/{shard:06d}.json"
        return ShardManifest.from_json(self.read(name), file=f"{self.url}/{name}")

    def download(self, name: str, target: Path) -> None:
        """Copy an object to the file `target`."""
        self._fs.get_file(self._at(name), str(target))

    def put_once(self, name: str, read: Callable[[], bytes]) -> None:
        """Create the object `name` with the bytes that `read` returns, unless it exists.

        Raises OSError if it exists with other content.
        """
        if name.startswith("clips/") and self._fs.exists(self._at(name)):
            return  # named by its content
        data = read()
        if not self._create(name, data) and self.read(name) != data:
            remedy = (
                "All machines of a curated build must share one output directory (-o); to continue with the content of the"
                " store, delete this machine's output directory and build again"
            )
            raise OSError(f"{self.url}/{name}: another machine has stored different content. {remedy}")

    def read(self, name: str) -> bytes:
        """Return the content of an object; FileNotFoundError if there is none."""
        return bytes(self._fs.cat_file(self._at(name)))

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects below a folder, sorted, as `put_once` and `read` take them."""
        return sorted(path.removeprefix(f"{self._root}/") for path in self._fs.find(self._at(folder)))

    def _create(self, name: str, data: bytes) -> bool:
        """Write an object unless it exists; True if it did not."""
        for pause in (0.1, 0.3, 1.0, 3.0, None):
            try:
                self._fs.pipe_file(self._at(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                response: dict[str, Any] = getattr(error.__cause__, "response", {})
                code = response.get("Error", {}).get("Code")
                if code in EXISTS:
                    return False
                if pause is None or code != CONFLICT:
                    raise
                time.sleep(pause)
            else:
                return True
        raise AssertionError("unreachable")

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def sheet_name(manifest: ShardManifest) -> str:
    """Return the object name of a shard's scene sheet."""
    return f"scenes/{manifest.shard:06d}-{str(manifest.scenes_sha256)[:12]}.json"


def clip_name(sha256: str) -> str:
    """Return the object name of a cleaned clip of a virtual build."""
    return f"clips/{sha256[:2]}/{sha256}.pcm"


def _describe(record: BuildRecord) -> str:
    return f"{'virtual' if record.virtual else 'stored'}, fingerprint {record.fingerprint[:12]}"
