"""Commands without a group: `reelmill doctor`, `reelmill bench`, `reelmill demo`."""

from pathlib import Path
from typing import Annotated

import typer

from reelmill.commands.options import JsonOption


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(epilog="Example: reelmill doctor")(doctor)
    app.command(epilog="Example: reelmill bench shards --peers --json")(bench)
    app.command(epilog="Example: reelmill demo --output demo")(demo)


def doctor() -> None:
    """Say what is installed here, and what each missing thing would give. Exit code 1 if something is wrong."""
    from rich.console import Console

    from reelmill.doctor import collect, has_problem, render

    checks = collect()
    Console().print(render(checks))
    if has_problem(checks):
        raise typer.Exit(1)


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one: clips, curate, ledger, scan, shards, train.")],
    as_json: JsonOption = False,
    peers: Annotated[
        bool,
        typer.Option("--peers", help="Install and measure other tools too, below the cache folder."),
    ] = False,
    levers: Annotated[
        bool, typer.Option("--levers", help="What each lever of the scan saves, and does to verdicts.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="train: real trainings that differ in objectives, codecs, traps or long."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="--compare: folder of the trainings.")] = Path("compare"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="--compare: size, e.g. --set steps=200.")
    ] = None,
) -> None:
    """Measure against named peers and limits, in one run. Exit code 1 if a limit is missed."""
    if compare is not None:
        _compare(name, compare, output, set_ or [])
        return
    from reelmill.bench import run_bench

    if run_bench(name, as_json, peers, levers).missed:
        raise typer.Exit(1)


def _compare(name: str, comparison: str, output: Path, overrides: list[str]) -> None:
    from reelmill.bench.train_compare import CompareConfig, compare, table
    from shards.config import apply_overrides, parse_config
    from shards.errors import ConfigError

    if name != "train":
        raise ConfigError(f"bench is {name!r} with --compare; train is allowed; leave --compare out")
    config = parse_config(CompareConfig, apply_overrides({}, overrides), "compare")
    output.mkdir(parents=True, exist_ok=True)
    typer.echo("\n".join(table(compare(comparison, config, output))))


def demo(
    output: Annotated[Path, typer.Option("--output", help="Folder for all that the demo makes.")] = Path("demo"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a size, e.g. --set raw_videos=8.")
    ] = None,
) -> None:
    """Raw video to samples and a report, on an embedded default. Exit code 1 if the model misses its gates."""
    from reelmill.demo import DemoConfig, run_demo
    from shards.config import apply_overrides, parse_config

    run_demo(parse_config(DemoConfig, apply_overrides({}, set_ or []), "demo"), output)
