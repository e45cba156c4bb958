"""`soundflow clips …` and `soundflow tfjp`: recordings become an index."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import Index, Json, LlmOf, Processes, say, say_json
from soundflow.cli.help import sub_app
from soundflow.schemas.clip import ClipRole


class Embedder(StrEnum):
    """Embedders that need no server."""

    AUTO = "auto"
    MINILM = "minilm"
    NGRAMS = "ngrams"


class Aligner(StrEnum):
    """Who finds the words (`backends.align.aligners.aligner_name`)."""

    AUTO = "auto"
    POCKETSPHINX = "pocketsphinx"
    WHISPER = "whisper"


top = typer.Typer()
clips_app = sub_app("The clip index: cleaned recordings a corpus is made of.")


@clips_app.command(
    "index",
    help="Index folders or manifests of recordings: check, clean (TFJP) and cache each once.",
    epilog="Example: soundflow clips index recordings/ speech.csv -o clips/",
)
def clips_index(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders, audio files, or manifests (.csv, .jsonl, .parquet).", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the index.", show_default=False)],
    workers: Processes = None,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Longer files are rejected as too_long.")] = 600.0,
    root: Annotated[list[Path] | None, typer.Option(help="A folder outside a manifest's own that its paths may name.")] = None,
    as_json: Json = False,
) -> None:
    """`soundflow clips index`."""
    from soundflow.pipeline.clips.index import index_clips
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.schemas.clip import IngressConfig, TfjpConfig

    with Console("clips", "files") as console:

        def show(done: int, total: int, rejected: int, seconds: float) -> None:
            console.show(done, total, f"{seconds / 3600:.2f} h of clips, {rejected} rejected")

        summary = index_clips(
            sources,
            out,
            roots=root or (),
            tfjp=TfjpConfig(),
            ingress=IngressConfig(max_seconds=max_seconds),
            workers=workers,
            on_progress=show,
        )
    if as_json:
        say_json(summary.to_json())
    else:
        say(summary.describe())


@clips_app.command(
    "align",
    help="Find when each word of a clip's transcript is heard, and write it into the index. A second run aligns what is new.",
    epilog="Example: soundflow clips align clips/",
)
def clips_align(
    index: Index,
    aligner: Annotated[
        Aligner, typer.Option(help="auto: pocketsphinx for English, whisper (an asset) for other languages.")
    ] = Aligner.AUTO,
    workers: Processes = None,
    as_json: Json = False,
) -> None:
    """`soundflow clips align`."""
    from soundflow.pipeline.clips.align import align_clips
    from soundflow.pipeline.mechanics.console import Console

    with Console("align", "clips") as console:

        def show(done: int, total: int, without: int, seconds: float) -> None:
            console.show(done, total, f"{seconds / 3600:.2f} h of speech, {without} without times")

        summary = align_clips(index, aligner=aligner.value, workers=workers, on_progress=show)
    if as_json:
        say_json(summary.to_json())
    else:
        say(summary.describe())


@clips_app.command(
    "interpret",
    help="Have a language model interpret aligned speech clause by clause; without it, translations are cut by wait-k.",
    epilog="Example: soundflow clips interpret clips/ --recipe corpus.yaml --into zh",
)
def clips_interpret(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Directory of an aligned clip index.", show_default=False)],
    recipe: LlmOf,
    into: Annotated[str, typer.Option(help="Language, such as zh, to put clips into that have no translation.")] = "",
    as_json: Json = False,
) -> None:
    """`soundflow clips interpret`."""
    from soundflow.operators.sources.rows import parse_language
    from soundflow.pipeline.clips.interpret import interpret_clips
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.services.ask_once import read_llm
    from soundflow.schemas.base import InputError

    if into and parse_language(into) is None:
        raise InputError("is no language code", field="--into", value=into, remedy="Give one such as zh or en")
    with Console("interpret", "clips") as console:

        def show(done: int, total: int, without: int) -> None:
            console.show(done, total, f"{without} not interpreted")

        summary = interpret_clips(index, read_llm(recipe), into=parse_language(into) or "", on_progress=show)
    if as_json:
        say_json(summary.to_json())
    else:
        say(summary.describe())


@clips_app.command(
    "search",
    help="Find the clips whose words are most like a query, best first.",
    epilog='Example: soundflow clips search clips/ "a dog barking far away" -k 3 --role foreground',
)
def clips_search(
    index: Index,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is to be heard, in a few words.", show_default=False)],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many.")] = 3,
    role: Annotated[ClipRole | None, typer.Option(help="Only clips of this role.")] = None,
    split: Annotated[str | None, typer.Option(help="Only clips of this split.")] = None,
    embedder: Annotated[Embedder, typer.Option(help="auto: minilm where it has been fetched, else ngrams.")] = Embedder.AUTO,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Use the embedder of this recipe (such as a server's).")
    ] = None,
    as_json: Json = False,
) -> None:
    """`soundflow clips search`."""
    from soundflow.operators.curate.retrieval import Query
    from soundflow.pipeline.clips.search_index import SearchIndex
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.schemas.recipe import Recipe
    from soundflow.schemas.retrieval import RetrievalConfig

    config = RetrievalConfig(embedder=embedder.value) if recipe is None else Recipe.from_yaml(recipe).retrieval
    wanted = Query(query, k=k, role=role, split=split)
    with Console("search vectors", "texts") as console:
        search = SearchIndex.open(index, config, on_progress=console.show)
    hits = search.search([wanted])[0]
    if as_json:
        say_json([hit._asdict() for hit in hits])
        return
    for hit in hits:
        say(f"{hit.score:6.3f}  {hit.id}  {hit.label}")
    say(f"{len(hits)} of {len(search)} clips, by {search.identity}")


@top.command(
    help="Clean one recording with TFJP (paper, Algorithm 1) and say what each operator did.",
    epilog="Example: soundflow tfjp dog.wav clean.wav --trace --plot clean.png",
)
def tfjp(
    source: Annotated[Path, typer.Argument(metavar="IN", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False)],
    trace: Annotated[bool, typer.Option(help="Print every step.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a before/after picture (.png, .pdf, .svg).")] = None,
    keep_noise: Annotated[bool, typer.Option(help="Do not denoise (what the ambient role gets).")] = False,
    as_json: Json = False,
) -> None:
    """`soundflow tfjp`."""
    from soundflow.pipeline.clips.clean_file import clean_file

    cleaned = clean_file(source, out, denoise=not keep_noise, plot=plot)
    if as_json:
        say_json(cleaned.to_json() | ({"trace": cleaned.trace_json()} if trace else {}))
        return
    say(cleaned.describe())
    for line in cleaned.trace_lines() if trace else ():
        say(line)
