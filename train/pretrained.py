"""Where pretrained parts lie: a path, a path below $REELMILL_MODELS, or the id of a hub repository."""

import os
from pathlib import Path

from shards.errors import ConfigError

MODELS_VARIABLE = "REELMILL_MODELS"


def local_path(knob: str, name: str) -> Path:
    """A file or folder that must be here.

    Args:
        knob: key of the config, for the error.
        name: absolute, below the working directory, or below $REELMILL_MODELS.

    Raises:
        ConfigError: it is at none of these places.
    """
    found = _find(name)
    if found is None:
        raise ConfigError(
            f"{knob} is {name!r}, which is neither here nor below {MODELS_VARIABLE}={os.environ.get(MODELS_VARIABLE)}; "
            f"a file or folder is allowed; set {MODELS_VARIABLE} or give the whole path"
        )
    return found


def path_or_hub_id(name: str) -> str:
    """The local folder of a name if there is one, else the name: `from_pretrained` takes it as a hub id."""
    found = _find(name)
    return name if found is None else str(found)


def _find(name: str) -> Path | None:
    places = [Path(name)]
    if models := os.environ.get(MODELS_VARIABLE):
        places.append(Path(models) / name)
    return next((place for place in places if place.exists()), None)
