"""`reelmill train …`: published shards to a latent video diffusion model."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reelmill.commands.options import ConfigArgument, SetOption


class Layout(StrEnum):
    """Names and files of an exported model."""

    AUTO = "auto"
    REELMILL = "reelmill"
    DIFFUSERS = "diffusers"


app = typer.Typer(
    help="Published shards to a latent video diffusion model.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(epilog="Example: reelmill train plan train/toyworld --set data.uri=run/dataset")
def plan(config: ConfigArgument, set_: SetOption = None) -> None:
    """Print clips, batches, parameters and memory before anything runs."""
    from shards.config import load_config
    from train.config import TrainConfig
    from train.plan import describe

    for name, value in describe(load_config(TrainConfig, config, set_ or [])).items():
        typer.echo(f"{name:<24} {value}")


@app.command(epilog="Example: torchrun --no-python --nproc-per-node 8 reelmill train fit CONFIG --output model")
def fit(
    config: ConfigArgument,
    output: Annotated[Path, typer.Option("--output", help="Run folder; the same command goes on where it stopped.")],
    set_: SetOption = None,
) -> None:
    """Train, from the newest complete checkpoint if there is one."""
    from reelmill.progress import each_of, training_progress
    from reelmill.training_page import TrainingPages
    from shards.config import load_config
    from train.config import TrainConfig
    from train.trainer import fit as fit_model

    loaded = load_config(TrainConfig, config, set_ or [])
    pages = TrainingPages(output, loaded.checkpoint.every_steps)
    with training_progress() as progress:
        result = fit_model(loaded, output, on_report=each_of(progress, pages.after))
    if os.environ.get("RANK", "0") == "0":  # of torchrun's ranks one speaks
        typer.echo(f"checkpoint {result.checkpoint}  step {result.step}")
        if loaded.method == "denoising":
            typer.echo(f"page       {pages.finish()}")


@app.command(epilog="Example: reelmill train page model")
def page(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `train fit`, under way or ended.")],
) -> None:
    """Write RUN/report.html: curves, splits of the loss, samples, skipped steps, settings, in one file."""
    from reelmill.training_page import write_training_page

    typer.echo(write_training_page(run))


@app.command(epilog="Example: reelmill train sample model --prompt 'a red circle moves left' --output samples")
def sample(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run folder of `train fit`, or one checkpoint.")],
    prompt: Annotated[list[str], typer.Option("--prompt", help="Text of a sample; may be given several times.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for one .gif per prompt and a contact sheet.")],
    seed: Annotated[int, typer.Option("--seed", help="Of the first prompt; the next ones count up.")] = 0,
    class_: Annotated[
        int | None, typer.Option("--class", min=0, help="Class of the samples, if the model knows classes.")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="COLUMN=VALUE", help="Score that the samples should have, in its unit."),
    ] = None,
    first_frame: Annotated[
        Path | None, typer.Option("--first-frame", metavar="PICTURE", help="Picture that the videos begin with.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, help="Frames of each video; default: the model's own clip.")
    ] = None,
    filler: Annotated[
        list[Path] | None,
        typer.Option("--filler", metavar="MODEL", help="Fills gaps between key frames; one per level, default MODEL."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override sampler or windows, e.g. --set guidance=2 --set windows.kind=hierarchical.",
        ),
    ] = None,
) -> None:
    """Generate videos from prompts; longer ones than the model's clips by windows."""
    from reelmill.samples import first_frames, write_samples
    from train.sample.generate import load, with_overrides
    from train.sample.long import generate_long

    loaded = load(model)
    config = with_overrides(loaded.config, set_ or [])
    count = len(prompt)
    wishes = loaded.wishes(
        prompt, range(seed, seed + count), None if class_ is None else [class_] * count, _scores(score or [], count)
    )
    videos_BTHWC = generate_long(
        loaded,
        wishes,
        frames or loaded.clip_frames,
        windows=config.windows,
        sampler=config.sampler if set_ else None,
        fillers=[load(path) for path in filler or ()],
        begin_BTHWC=None if first_frame is None else first_frames(first_frame, loaded, count),
    )
    for path in write_samples(videos_BTHWC, prompt, output):
        typer.echo(path)


@app.command(epilog="Example: reelmill train embed train/toyworld --set data.uri=run/dataset --output run/latents")
def embed(
    config: ConfigArgument,
    output: Annotated[str, typer.Option("--output", help="Folder or s3:// of the derived dataset; rerun to go on.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Run folder of `train fit` that has the codec; default: the config's."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Make the latents of a published dataset once, as a dataset that `data.read: latents` trains from."""
    from reelmill.embedding import embed_dataset
    from shards.config import load_config
    from train.config import TrainConfig

    made = embed_dataset(load_config(TrainConfig, config, set_ or []), model, output)
    typer.echo(f"version {made.version} of {output}: latents of {made.stats.num_samples} clips")


@app.command(epilog="Example: reelmill train export model --output exported")
def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run folder of `train fit`, or one checkpoint.")],
    output: Annotated[Path, typer.Option("--output", help="New folder for the files.")],
    layout: Annotated[
        Layout, typer.Option("--layout", help="auto: diffusers' U-Net too, where that layout exists.")
    ] = Layout.AUTO,
    last: Annotated[bool, typer.Option("--last", help="The last weights in place of their moving average.")] = False,
) -> None:
    """Write a trained model as safetensors with settings and vocabulary, and in diffusers' layout if it has one."""
    from train.export import export as export_model

    done = export_model(model, output, averaged=not last, layout=layout.value)
    typer.echo(f"{done.checkpoint.name} of {model} is in {output}")
    if done.max_difference is not None:
        typer.echo(f"diffusers' U-Net is in {output / 'unet'}; largest difference {done.max_difference:.2g}")
    elif done.without_diffusers is not None:
        typer.echo(f"without diffusers' layout: {done.without_diffusers} there")


@app.command(epilog="Example: reelmill train replay model --step 1234")
def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `train fit`.")],
    step: Annotated[int, typer.Option("--step", help="A step that the run has made; see skipped.jsonl.")],
) -> None:
    """Make one step again: the loss of each clip, the gradient of each part. Exit code 1 if some are not finite."""
    from train.replay import replay as make_again

    found = make_again(run, step)
    typer.echo(f"step {found.step}, made again from the checkpoint of step {found.from_step}")
    for clip in found.clips:
        typer.echo(f"  {clip.key:<40} level {clip.level:.3f}  loss {clip.loss:.6g}")
    for part, norm in found.gradient_norms.items():
        typer.echo(f"  gradient of {part:<28} {norm:.6g}")
    raise typer.Exit(0 if found.is_finite else 1)


def _scores(texts: list[str], count: int) -> dict[str, list[float]]:
    from shards.errors import ConfigError

    scores: dict[str, list[float]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            scores[name] = [float(value)] * count
        except ValueError:
            raise ConfigError(f"--score is {text!r}; COLUMN=NUMBER is allowed; write --score motion=12.5") from None
    return scores
