"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="Preset name (curate/web_video) or YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one config value, e.g. --set scan.model_frames.interval_s=0.5."
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of a curation run.")]
DatasetArgument = Annotated[
    str,
    typer.Argument(metavar="DIR", help="Dataset: a folder or s3://bucket/folder (gs://, az://); or a curation run."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
