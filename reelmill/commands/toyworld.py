"""`reelmill toyworld …`: drawn videos whose every fact is known."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Drawn videos whose every fact is known.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: reelmill toyworld make toy --videos 12 --seed 0")
def make(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for videos and truth files.")],
    videos: Annotated[int, typer.Option("--videos", help="Number of raw videos.", min=1)] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same frames.")] = 0,
) -> None:
    """Draw raw videos with cuts, fades, defects and duplicates, and a truth file for each."""
    from contextlib import closing

    from reelmill.progress import console_progress
    from reelmill.toyworld.make import make as make_videos

    with closing(console_progress()) as progress:
        progress.start("draw", videos)
        truths = make_videos(directory, videos, seed, on_video=lambda: progress.advance("draw"))
    typer.echo(f"{len(truths)} videos in {directory}")


@app.command(epilog="Example: reelmill toyworld captioner models/toy_captioner")
def captioner(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the model.")],
    seed: Annotated[int, typer.Option("--seed", help="Of clips, weights and batches.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps; default two minutes' worth.")] = None,
    clips: Annotated[int, typer.Option("--clips", help="Unseen clips that it is scored on.", min=1)] = 300,
) -> None:
    """Train the toy captioner, a small BLIP-2, and print what it names right on unseen clips."""
    from reelmill.progress import stepping
    from reelmill.toyworld.captioner import CaptionerConfig, train_captioner
    from reelmill.toyworld.captioner_score import score_captioner

    config = CaptionerConfig(seed=seed) if steps is None else CaptionerConfig(seed=seed, num_steps=steps)
    with stepping("captioner", config.num_steps) as on_step:
        train_captioner(directory, config, on_step)
    scores = score_captioner(directory, clips)
    typer.echo("  ".join(f"{name} {value}" for name, value in scores.items()))
