"""`reelmill shards …`: look at, prove and publish datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelmill.commands.options import DatasetArgument

if TYPE_CHECKING:
    from shards.versions.cli_views import Listing

app = typer.Typer(help="Look at, prove and publish datasets.", no_args_is_help=True, rich_markup_mode=None)

VersionOption = Annotated[int | None, typer.Option("--version", help="Version of the dataset; default the newest.")]


@app.command(epilog="Example: reelmill shards ls run")
def ls(directory: DatasetArgument) -> None:
    """List the versions of a dataset."""
    from shards.versions import cli_views

    _print(cli_views.ls(dataset_at(directory)))


@app.command(epilog="Example: reelmill shards show run 0a1b2c3d4e5f6071")
def show(
    directory: DatasetArgument,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="A sample; without it, the version.")] = None,
    version: VersionOption = None,
) -> None:
    """Print the facts of a version, or all that is known of one sample."""
    from shards.versions import cli_views

    _print(cli_views.show(dataset_at(directory), version, key))


@app.command(epilog="Example: reelmill shards verify run --frames")
def verify(
    directory: DatasetArgument,
    version: VersionOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Names, sizes and the plan index; no shard is read.")] = False,
    frames: Annotated[bool, typer.Option("--frames", help="Decode every clip: count, pts, digest of frames.")] = False,
) -> None:
    """Prove that a dataset is what was published. Exit code 1 if it is not."""
    from shards.versions import cli_views

    _print(cli_views.verification(dataset_at(directory), version, not quick, frames))


@app.command(epilog="Example: reelmill shards plan run --set plan.where='motion > 1' --set view.fps=8")
def plan(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR", help="Dataset (folder, s3://, gs://), or a curation run; none with --set mix=[…]."
        ),
    ] = None,
    version: VersionOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As below `data` in training: plan.…, view.…, mix."),
    ] = None,
    measure: Annotated[
        int, typer.Option("--measure", min=0, metavar="N", help="Decode N copied and N encoded clips, and time them.")
    ] = 0,
) -> None:
    """Tell what an epoch would be: buckets, batches, tokens, mixing, cache need, decode cost."""
    from shards.reading.plan_view import plan_listings

    for listing in plan_listings(None if directory is None else dataset_at(directory), version, set_ or [], measure):
        _print(listing)


@app.command(epilog="Example: reelmill shards publish run --plan 1a2b3c4d")
def publish(
    directory: DatasetArgument,
    plan: Annotated[str | None, typer.Option("--plan", help="Plan whose commits are published.")] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add the plan's shards to what the newest version publishes.")
    ] = False,
) -> None:
    """Make committed shards the next version; the same commits are the same version."""
    from shards.versions import cli_views, version_views

    if append:
        _print(version_views.appended(dataset_at(directory), plan))
    else:
        _print(cli_views.publication(dataset_at(directory), plan))


@app.command(epilog="Example: reelmill shards diff run --from 1 --to 3")
def diff(
    directory: DatasetArgument,
    before: Annotated[int | None, typer.Option("--from", help="A version; default the one before the other.")] = None,
    after: Annotated[int | None, typer.Option("--to", help="The other version; default the newest.")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="Print every key, not the first few.")] = False,
) -> None:
    """Compare two versions: samples by key and checksum, splits, columns, sizes."""
    from shards.versions import version_views

    _print(version_views.difference(dataset_at(directory), before, after, keys))


@app.command(epilog="Example: reelmill shards withdraw run --source 0a1b2c3d4e5f6071 --reason 'owner asked'")
def withdraw(
    directory: DatasetArgument,
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="ID", help="video_id, uri or sha256; may be repeated.")
    ] = None,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="Keys of samples, one a line.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; stored in the manifest.")] = "",
    by: Annotated[str | None, typer.Option("--by", help="Who decided; stored.")] = None,
    date: Annotated[str | None, typer.Option("--date", help="When, YYYY-MM-DD; stored. No clock is asked.")] = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Also names that no shard has yet.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Take the tombstones of these names away again.")] = False,
) -> None:
    """Publish a version without some samples; no later version brings them back unless lifted."""
    from shards.versions import version_views

    folder, key_list = dataset_at(directory), version_views.key_list(keys)
    if lift:
        _print(version_views.lifting(folder, source or [], key_list))
    else:
        _print(version_views.withdrawal(folder, reason, source or [], key_list, by, date, unseen))


@app.command(epilog="Example: reelmill shards compact run")
def compact(
    directory: DatasetArgument,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", help="Folder for tars while they are built; default the system's.")
    ] = None,
) -> None:
    """Publish the same samples from shards that hold nothing else; removes no file."""
    from shards.versions import version_views

    _print(version_views.compaction(dataset_at(directory), scratch))


@app.command(epilog="Example: reelmill shards gc run --grace 7d --keep-versions 2 --delete")
def gc(
    directory: DatasetArgument,
    grace: Annotated[str, typer.Option("--grace", help="Younger objects stay: 7d, 12h, 30m, 45s.")] = "7d",
    keep_versions: Annotated[
        int | None, typer.Option("--keep-versions", metavar="N", help="Drop all but the newest N; default keep all.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete/--dry-run", help="Remove, or only say what would go.")] = False,
) -> None:
    """Remove shards, indexes and records that no version names; never a foreign file."""
    from shards.versions import version_views

    _print(version_views.collection(dataset_at(directory), grace, keep_versions, delete))


@app.command(epilog="Example: reelmill shards schema > docs/manifest.schema.json")
def schema() -> None:
    """Print the JSON Schema of a manifest."""
    from shards.versions.manifest import manifest_schema

    typer.echo(manifest_schema(), nl=False)


@app.command(epilog="Example: reelmill shards export run clips-v3 --version 3")
def export(
    directory: DatasetArgument,
    out: Annotated[str, typer.Argument(metavar="OUT", help="New folder, or s3://bucket/folder (gs://, az://).")],
    version: VersionOption = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", help="Folder for tars while they are built; default the system's.")
    ] = None,
) -> None:
    """Write a version as a dataset of its own, tars by split: what Hugging Face's load_dataset opens."""
    from shards.versions import version_views

    _print(version_views.exported(dataset_at(directory), out, version, scratch))


@app.command(epilog="Example: reelmill shards push run --repo owner/clips --create")
def push(
    directory: DatasetArgument,
    repo: Annotated[str, typer.Option("--repo", metavar="OWNER/NAME", help="Dataset repository of the Hub.")],
    version: VersionOption = None,
    create: Annotated[bool, typer.Option("--create", help="Make the repository if it is not there.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Make it public; default private.")] = False,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", help="Folder for the export; default the system's.")
    ] = None,
) -> None:
    """Export a version and push it to the Hugging Face Hub; manifest and card come last."""
    from shards.versions import version_views

    _print(version_views.pushed(dataset_at(directory), repo, version, create, public, scratch))


@app.command("import", epilog="Example: reelmill shards import clips.csv dataset --kind csv --caption text")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of tars or files, a tar, or a CSV file.")],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="Dataset to make, or to append to: a folder, s3://, gs://.")
    ],
    kind: Annotated[str, typer.Option("--kind", help="webdataset, csv, video2dataset or hf (video folder).")],
    caption: Annotated[str | None, typer.Option("--caption", help="Column or .json key of captions.")] = None,
    source_column: Annotated[
        str | None, typer.Option("--source", help="Column or .json key of the video a clip was cut from.")
    ] = None,
    path_column: Annotated[str | None, typer.Option("--path-column", help="Column of paths of a CSV.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of all clips.")] = None,
    val: Annotated[float, typer.Option("--val", help="Share of sources for validation, in a new dataset.")] = 0.05,
    adopt: Annotated[bool, typer.Option("--adopt/--copy", help="Link tars that fit, or write all anew.")] = True,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that decode the clips.")] = 2,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", help="Folder for tars while they are built; default the system's.")
    ] = None,
) -> None:
    """Make a foreign dataset one of ours: its clips stay as they are, index and version are added."""
    from shards.config import parse_config
    from shards.importing.run import ImportConfig
    from shards.importing.views import importation

    names = {"caption": caption, "source": source_column, "path": path_column, "licence": licence, "adopt": adopt}
    config = parse_config(ImportConfig, {"kind": kind, "split": {"val": val}, **names}, "import")
    _print(importation(source, out, config, scratch, workers))


def dataset_at(place: str) -> str | Path:
    """The dataset of a curation run, or the folder itself; a uri as it is."""
    if "://" in place:
        return place
    folder = Path(place)
    return folder / "dataset" if (folder / "dataset").is_dir() else folder


def _print(listing: "Listing") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*listing.columns, title=Text(listing.title), title_justify="left", box=None, pad_edge=False)
    for row in listing.rows:
        table.add_row(*(Text(_visible(cell)) for cell in row))
    Console(soft_wrap=True).print(table)
    if listing.failed:
        raise typer.Exit(1)


def _visible(cell: str) -> str:
    """Strangers' text must not drive the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cell)
