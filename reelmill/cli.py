"""The command `reelmill`: groups, exit codes, errors as one line. Work is imported when a command is called."""

import logging
import sys

import typer

from reelmill.commands import curate, shards, top, toyworld, train
from shards.errors import ConfigError, ReelmillError
from shards.packages import check_one_folder

# What the parser raises for a wrong command line; typer brings its own copy of click and names only the leaves.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

EXTRA_OF = {
    **dict.fromkeys(("torch", "tensorboard", "tokenizers", "safetensors"), "train"),
    **dict.fromkeys(("torchvision", "transformers", "open_clip"), "models"),
    "webdataset": "dev",
}

EXIT_DONE, EXIT_PROBLEM, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="reelmill",
    help="Raw video to published, training-ready shards to a trained latent video diffusion model.",
    epilog="Example: reelmill curate run curate/scan_only videos/ --output run",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(curate.app, name="curate")
app.add_typer(shards.app, name="shards")
app.add_typer(train.app, name="train")
app.add_typer(toyworld.app, name="toyworld")
top.add_to(app)


def main() -> None:
    """Run the command and end with 0 (done), 1 (a problem, named) or 2 (usage or configuration)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments and return its exit code; errors are printed, not raised."""
    try:
        check_one_folder()
        code = app(arguments, standalone_mode=False)
    except ConfigError as error:
        return _fail(error, EXIT_USAGE)
    except ReelmillError as error:
        return _fail(error, EXIT_PROBLEM)
    except ModuleNotFoundError as error:
        return _fail(_missing_extra(error), EXIT_USAGE)
    except UsageError as error:
        error.show()  # pyright: ignore[reportAttributeAccessIssue]
        return EXIT_USAGE
    except (typer.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except typer.Exit as end:
        code = end.exit_code
    if code == EXIT_INTERRUPTED:  # typer makes Ctrl-C this code by itself
        print("interrupted; what is finished is kept; run the same command again to go on", file=sys.stderr)
    return code if isinstance(code, int) else EXIT_DONE


def _missing_extra(error: ModuleNotFoundError) -> Exception:
    """The extra that a missing package belongs to; a missing module that is no extra's stays the bug it is."""
    extra = EXTRA_OF.get((error.name or "").partition(".")[0])
    if extra is None:
        raise error
    return ConfigError(f"{error.name} is not installed; this command needs it; pip install 'reelmill[{extra}]'")


def _fail(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code
