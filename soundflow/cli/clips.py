"""`soundflow clips …` and `soundflow tfjp`: recordings become a clip index."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from soundflow.cli.common import Index, Json, LlmOf, Processes, say, say_json
from soundflow.cli.help import sub_app
from soundflow.schemas.clip import ClipRole


class EmbedderName(StrEnum):
    """Text embedders that need no server."""

    AUTO = "auto"
    MINILM = "minilm"
    NGRAMS = "ngrams"


class AlignerName(StrEnum):
    """Models that find word times (`backends.align.aligners.aligner_name`)."""

    AUTO = "auto"
    POCKETSPHINX = "pocketsphinx"
    WHISPER = "whisper"


top = typer.Typer()
clips_app = sub_app("Build and search a clip index, the table of cleaned recordings that corpora are built from.")


@clips_app.command(
    "index",
    help="Check, clean (TFJP) and cache every recording of folders or manifests, and write a clip index. "
    "Run the same command again to resume or to add recordings.",
    epilog="Example: soundflow clips index recordings/ speech.csv -o clips/",
)
def clips_index(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders, audio files or manifests (table, JSON lines, wav.scp).", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the clip index.", show_default=False)],
    workers: Processes = None,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Maximum duration of a recording in seconds; longer ones are rejected.")
    ] = 600.0,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MAP",
            help="Rename labels by a CSV file with the columns old and new, or by the shipped map audioset, esc50 or fsd50k.",
        ),
    ] = None,
    root: Annotated[
        list[Path] | None, typer.Option(help="Additional folder that the paths of a manifest may point into.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow clips index`."""
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
            labels=labels or (),
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
    help="Align transcripts: find the times of every word and write them into the index. A second run aligns new clips only.",
    epilog="Example: soundflow clips align clips/",
)
def clips_align(
    index: Index,
    aligner: Annotated[
        AlignerName,
        typer.Option(
            help="Alignment model. The choice auto takes pocketsphinx for English and whisper (an asset) for other languages."
        ),
    ] = AlignerName.AUTO,
    workers: Processes = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow clips align`."""
    from soundflow.pipeline.clips.align import align_clips
    from soundflow.pipeline.mechanics.console import Console

    with Console("align", "clips") as console:

        def show(done: int, total: int, without: int, seconds: float) -> None:
            console.show(done, total, f"{seconds / 3600:.2f} h of speech, {without} without word times")

        summary = align_clips(index, aligner=aligner.value, workers=workers, on_progress=show)
    if as_json:
        say_json(summary.to_json())
    else:
        say(summary.describe())


@clips_app.command(
    "interpret",
    help="Interpret aligned speech clause by clause with a language model. "
    "Translations that are not interpreted are split by wait-k.",
    epilog="Example: soundflow clips interpret clips/ --recipe corpus.yaml --into zh",
)
def clips_interpret(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Directory of an aligned clip index.", show_default=False)],
    recipe: LlmOf,
    into: Annotated[str, typer.Option(help="Target language code, such as zh, for clips without a translation.")] = "",
    as_json: Json = False,
) -> None:
    """Run `soundflow clips interpret`."""
    from soundflow.operators.sources.languages import parse_language
    from soundflow.pipeline.clips.interpret import interpret_clips
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.pipeline.services.ask_once import read_llm
    from soundflow.schemas.base import InputError

    if into and parse_language(into) is None:
        raise InputError("not a language code", field="--into", value=into, remedy="Give a code such as zh or en")
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
    help="Find the clips whose label, caption or transcript is closest to a query, best first.",
    epilog='Example: soundflow clips search clips/ "a dog barking far away" -k 3 --role foreground',
)
def clips_search(
    index: Index,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Description of the sound in a few words.", show_default=False)],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of clips to return.")] = 3,
    role: Annotated[ClipRole | None, typer.Option(help="Restrict the search to clips of this role.")] = None,
    split: Annotated[str | None, typer.Option(help="Restrict the search to clips of this split.")] = None,
    embedder: Annotated[
        EmbedderName, typer.Option(help="Text embedder. The choice auto takes minilm if it is installed and ngrams otherwise.")
    ] = EmbedderName.AUTO,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Recipe file whose retrieval section names the embedder, for example one behind a server."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow clips search`."""
    from soundflow.operators.curate.retrieval import Query
    from soundflow.pipeline.clips.search_index import SearchIndex
    from soundflow.pipeline.mechanics.console import Console
    from soundflow.schemas.recipe import Recipe
    from soundflow.schemas.retrieval import RetrievalConfig

    config = RetrievalConfig(embedder=embedder.value) if recipe is None else Recipe.from_yaml(recipe).retrieval
    request = Query(query, k=k, role=role, split=split)
    with Console("search vectors", "texts") as console:
        search = SearchIndex.open(index, config, on_progress=console.show)
    hits = search.search([request])[0]
    if as_json:
        say_json([hit._asdict() for hit in hits])
        return
    for hit in hits:
        say(f"{hit.score:6.3f}  {hit.id}  {hit.label}")
    say(f"{len(hits)} of {len(search)} clips, embedded by {search.identity}")


@top.command(
    help="Clean one recording with TFJP (paper, Algorithm 1) and report what each operator changed.",
    epilog="Example: soundflow tfjp dog.wav clean.wav --trace --plot clean.png",
)
def tfjp(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Audio file to clean.", show_default=False)],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Audio file to write; its suffix decides the format.", show_default=False)
    ],
    trace: Annotated[bool, typer.Option(help="Print every step of every operator.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Image file for a plot of the recording before and after (.png, .pdf, .svg).")
    ] = None,
    keep_noise: Annotated[bool, typer.Option(help="Skip denoising, as for clips of the role ambient.")] = False,
    as_json: Json = False,
) -> None:
    """Run `soundflow tfjp`."""
    from soundflow.pipeline.clips.clean_file import clean_file

    cleaned = clean_file(source, out, denoise=not keep_noise, plot=plot)
    if as_json:
        say_json(cleaned.to_json() | ({"trace": cleaned.trace_json()} if trace else {}))
        return
    say(cleaned.describe())
    for line in cleaned.trace_lines() if trace else ():
        say(line)
