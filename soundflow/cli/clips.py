"""`soundflow clips …` and `soundflow tfjp`: recordings become a clip index."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundflow.cli.common import Index, Json, LlmOf, Processes, say, say_json
from soundflow.cli.help import sub_app
from soundflow.schemas.clip import ClipRole
from soundflow.schemas.decision import DecisionRules
from soundflow.schemas.taxonomy import Urgency
from soundflow.schemas.text import counted

if TYPE_CHECKING:
    from soundflow.pipeline.clips.overview import ListedClip


class SortKey(StrEnum):
    """Orders of the list of labels."""

    CLIPS = "clips"
    SECONDS = "seconds"
    LABEL = "label"


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
    say(f"{len(hits)} of {counted(len(search), 'clip')}, embedded by {search.identity}")


Label = Annotated[
    list[str] | None, typer.Option(help="Restrict to this label, compared by its words; * and ? are wildcards. May be repeated.")
]
Role = Annotated[ClipRole | None, typer.Option(help="Restrict to clips of this role.")]
Decision = Annotated[Urgency | None, typer.Option(help="Restrict to sounds with this decision.")]
Split = Annotated[str, typer.Option(help="Restrict to clips of this split.")]
Source = Annotated[str, typer.Option(help="Restrict to clips of this source.")]
LabelSourceName = Annotated[
    str, typer.Option(help="Restrict to clips whose label has this source, such as manifest, metadata, folder, file name or map.")
]
Text = Annotated[str, typer.Option(help="Restrict to clips with this text in id, label, caption or transcript.")]
MinCount = Annotated[int, typer.Option(min=0, help="Minimum number of clips with the same label.")]
MaxCount = Annotated[int | None, typer.Option(min=1, help="Maximum number of clips with the same label.")]
Taxonomy = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="FILE", help="Recipe file whose taxonomy section decides."),
]


@clips_app.command(
    "list",
    help="List the labels of an index with number of clips, seconds, role, decision and the source of the label.",
    epilog="Example: soundflow clips list clips/ --decision respond --min-count 5",
)
def clips_list(
    index: Index,
    label: Label = None,
    role: Role = None,
    decision: Decision = None,
    split: Split = "",
    source: Source = "",
    label_source: LabelSourceName = "",
    text: Text = "",
    min_count: MinCount = 0,
    max_count: MaxCount = None,
    unused: Annotated[bool, typer.Option("--unused", help="List the clips whose label or caption is left out.")] = False,
    clips: Annotated[bool, typer.Option("--clips", help="List every clip instead of every label.")] = False,
    sort: Annotated[SortKey, typer.Option(help="Order of the labels: most clips, most seconds or name.")] = SortKey.CLIPS,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of lines (default: all).")] = None,
    recipe: Taxonomy = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow clips list`."""
    from soundflow.pipeline.clips.overview import (
        ClipFilter,
        clip_lines,
        find_unknown_values,
        label_lines,
        list_clips,
        list_labels,
    )
    from soundflow.pipeline.clips.table import ClipIndex

    conditions = ClipFilter(label or (), role, decision, split, source, label_source, text, min_count, max_count, unused)
    opened = ClipIndex.open(index)
    found = list(list_clips(opened, _rules(recipe), conditions))
    for note in find_unknown_values(opened, conditions) if not found else ():
        typer.echo(f"note: {note}", err=True)
    labels = list_labels(found, sort.value)
    by_clip = clips or unused
    if as_json:
        listed = [one._asdict() for one in (found if by_clip else labels)[:limit]]
        total = {"clips": len(found), "seconds": sum(clip.seconds for clip in found), "labels": _distinct(found)}
        say_json({"clips" if by_clip else "labels": listed, "total": total})
        return
    lines = clip_lines(found[:limit]) if by_clip else label_lines(labels[:limit])
    for line in lines if found else ():
        say(line)
    hours = sum(clip.seconds for clip in found) / 3600
    say(f"{counted(_distinct(found), 'label')}, {counted(len(found), 'clip')}, {hours:.2f} h")


def _distinct(found: list[ListedClip]) -> int:
    return len({clip.label for clip in found} - {""})


def _rules(recipe: Path | None) -> DecisionRules:
    from soundflow.schemas.recipe import Recipe

    return DecisionRules(Recipe.from_yaml(recipe).taxonomy if recipe else None)


@clips_app.command(
    "stats",
    help="Count the clips and seconds of an index by role, decision, source of the label, split, source and licence.",
    epilog="Example: soundflow clips stats clips/ --role foreground",
)
def clips_stats(
    index: Index,
    label: Label = None,
    role: Role = None,
    decision: Decision = None,
    split: Split = "",
    source: Source = "",
    label_source: LabelSourceName = "",
    text: Text = "",
    min_count: MinCount = 0,
    max_count: MaxCount = None,
    recipe: Taxonomy = None,
    as_json: Json = False,
) -> None:
    """Run `soundflow clips stats`."""
    from soundflow.pipeline.clips.overview import ClipFilter, ClipStats, find_unknown_values, list_clips
    from soundflow.pipeline.clips.table import ClipIndex

    opened = ClipIndex.open(index)
    conditions = ClipFilter(label or (), role, decision, split, source, label_source, text, min_count, max_count)
    stats = ClipStats.of(opened, list_clips(opened, _rules(recipe), conditions))
    for note in find_unknown_values(opened, conditions) if not stats.clips else ():
        typer.echo(f"note: {note}", err=True)
    if as_json:
        say_json(stats.to_json())
        return
    for line in stats.lines():
        say(line)


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
