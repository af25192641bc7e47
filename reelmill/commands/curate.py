"""`reelmill curate …`: raw videos to scored rows to clips in shards."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from reelmill.commands.options import ConfigArgument, JsonOption, RunArgument, SetOption

app = typer.Typer(
    help="Raw videos to scored rows to exact clips in shards.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(epilog="Example: reelmill curate plan curate/web_video --set caption.model.path=blip2-opt-2.7b")
def plan(config: ConfigArgument, set_: SetOption = None) -> None:
    """Print the steps: columns read and added, rows seen, where each rule fires, resources; and missing models."""
    from curate.config import load_curate_config
    from curate.pipeline import Pipeline

    pipeline = Pipeline.of(load_curate_config(config, set_ or []))
    typer.echo(pipeline.describe())
    for missing in pipeline.require_models(download=False):
        typer.echo(f"optional model is missing, its columns will be null: {missing}")


@app.command(
    epilog="Example: reelmill curate run curate/scan_only videos/ --output run --set keep.motion='flow_mag >= 0.02'"
)
def run(
    config: ConfigArgument,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT…", help="Files, folders, globs, lists, s3/gs/az/http(s) uris.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Run folder; the same command goes on where it stopped.")],
    executor: Annotated[
        Literal["local", "ray"] | None, typer.Option("--executor", help="Where to run; default from the config.")
    ] = None,
    set_: SetOption = None,
) -> None:
    """Curate videos into a published dataset and a report. Exit code 1 if a promise does not hold."""
    from curate.config import load_curate_config
    from curate.run import curate_videos
    from reelmill.progress import console_progress

    overrides = [*(set_ or []), *([f"run.executor={executor}"] if executor else [])]
    result = curate_videos(load_curate_config(config, overrides), inputs, output, console_progress())
    typer.echo(result.summary())
    for problem in result.problems:
        typer.echo(f"problem: {problem}", err=True)
    if result.problems:
        raise typer.Exit(1)


@app.command(epilog="Example: reelmill curate decide run --set keep.motion='flow_mag >= 0.05' --publish")
def decide(
    directory: RunArgument,
    set_: SetOption = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish the next version from the shards there are.")
    ] = False,
) -> None:
    """Apply the run's rules, or changed ones, to its catalog: no video is opened; only --publish writes."""
    from curate.ask.finished import finished_run
    from curate.ask.late import decide_late
    from curate.ask.republish import republish

    if publish:
        version = republish(directory, set_ or [], lambda late: typer.echo(late.describe())).version
        typer.echo(f"version {version} of {directory / 'dataset'} is published")
        return
    late = decide_late(finished_run(directory), set_ or [])
    typer.echo(late.describe())
    if late.gaps:
        typer.echo("`curate run` with the same --set does what is missing and nothing else")
    else:
        typer.echo("nothing is missing; --publish makes the next version from the shards there are")


@app.command(epilog="Example: reelmill curate report run")
def report(directory: RunArgument) -> None:
    """Write the run's report again and print its path."""
    from curate.report.write import write_report
    from curate.rundir import RunDir

    RunDir(directory).require_run()
    typer.echo(write_report(directory))


@app.command(
    name="what-if",
    epilog="Example: reelmill curate what-if run --set keep.motion='flow_mag >= 0.05' --curve all --png rates.png",
)
def what_if(
    directory: RunArgument,
    set_: SetOption = None,
    curve: Annotated[
        list[str] | None,
        typer.Option("--curve", metavar="keep.RULE[:COLUMN]", help="Kept share over a rule's number; `all` for each."),
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the curves, default all.")] = None,
    json_: JsonOption = False,
) -> None:
    """Print what other rules would keep, what is unknown, to be cut or scored anew: from the catalog alone."""
    from curate.ask import keep_rates_view
    from curate.ask.what_if_view import as_json, ask_what_if, describe

    curves = keep_rates_view.ask_keep_rates(directory, set_ or [], curve or []) if curve or png else []
    found = ask_what_if(directory, set_ or [])
    typer.echo(describe(found))
    for one in curves if curve else []:
        typer.echo(f"\n{keep_rates_view.describe(one)}")
    if png:
        keep_rates_view.write_png(curves, png)
        typer.echo(f"\n{png}")
    if json_:
        typer.echo(json.dumps(as_json(found) | {"curves": [keep_rates_view.as_json(one) for one in curves]}))


@app.command(epilog="Example: reelmill curate explain run holiday.mp4@1:12.5")
def explain(
    directory: RunArgument,
    subject: Annotated[
        str,
        typer.Argument(metavar="ID[@SECOND]", help="Clip id, video id, uri or file name; SECOND as 72.5 or 1:12.5."),
    ],
    json_: JsonOption = False,
) -> None:
    """Say why a clip, or a second of a video, was kept, rejected or failed, and where its bytes lie."""
    from curate.ask.explain import ask_why
    from curate.ask.explain_view import as_json, describe

    found = ask_why(directory, subject)
    typer.echo(describe(found))
    if json_:
        typer.echo(json.dumps(as_json(found)))


@app.command(epilog="Example: reelmill curate forecast curate/web_video videos/ --sample 1%")
def forecast(
    config: ConfigArgument,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT…", help="As for `curate run`.")],
    sample: Annotated[str, typer.Option("--sample", help="Share of the videos to try, or their number.")] = "1%",
    seed: Annotated[int, typer.Option("--seed", help="Of sample and intervals: the same seed, the same videos.")] = 0,
    percent: Annotated[float, typer.Option("--interval", min=1, max=99.9, help="Probability of an interval, %.")] = 90,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Run a sample for real in a scratch folder; print expected CPU, GPU, storage and kept share with intervals."""
    from curate.ask.forecast import forecast as foresee
    from curate.ask.forecast_view import as_json, describe
    from curate.config import load_curate_config
    from reelmill.progress import console_progress

    found = foresee(load_curate_config(config, set_ or []), inputs, sample, seed, percent, console_progress())
    typer.echo(describe(found))
    if json_:
        typer.echo(json.dumps(as_json(found)))


@app.command(epilog="Example: reelmill curate retry run --code deadline --code cut:deadline")
def retry(
    directory: RunArgument,
    code: Annotated[list[str], typer.Option("--code", help="Code of failed videos, or cut:CODE of failed cuts.")],
) -> None:
    """Repeat what failed with these codes and nothing else. Exit code 1 if a promise does not hold."""
    from curate.ask.retry import retry as repeat
    from reelmill.progress import console_progress

    result = repeat(directory, code, console_progress())
    typer.echo(result.describe())
    for problem in result.curated.problems:
        typer.echo(f"problem: {problem}", err=True)
    if result.curated.problems:
        raise typer.Exit(1)


@app.command(
    epilog="Example: reelmill curate submit curate/web_video s3://bucket/raw --output /data/run "
    "--address http://head:8265 --working-dir ."
)
def submit(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Preset, or YAML file below --working-dir or on the cluster.")
    ],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT…", help="As for `curate run`, as the cluster sees them.")
    ],
    output: Annotated[str, typer.Option("--output", help="Run folder, absolute, that every node sees.")],
    address: Annotated[
        str, typer.Option("--address", envvar="RAY_API_SERVER_ADDRESS", help="Dashboard of the running cluster.")
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[
        Path | None, typer.Option("--working-dir", help="Folder that is sent along; the job runs in it.")
    ] = None,
    runtime_env: Annotated[
        Path | None, typer.Option("--runtime-env", metavar="FILE", help="YAML or JSON of Ray's runtime_env: pip, …")
    ] = None,
    python: Annotated[str, typer.Option("--python", help="Interpreter of the nodes that has reelmill.")] = "python",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log and end with the job's code.")] = True,
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="kuberay|slurm", help="Print a file that makes a cluster for this run."),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", metavar="KEY=VALUE", help="Value of the template, e.g. --cluster workers=4."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Run a curation on a Ray cluster: as a job of a running one, or by a file for KubeRay or Slurm.

    Ctrl-C ends the following of the log; the job goes on.
    """
    from reelmill.submit import make_job, print_template, submit_job

    job = make_job(config, inputs, output, set_ or [], working_dir, runtime_env, python)
    if template is not None:
        return print_template(template, job, cluster or [])
    raise typer.Exit(submit_job(job, address, wait))
