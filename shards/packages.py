"""The rail against shadowed packages: `train` and the like are common names, so say when Python took another one.

Run by the command and by every Ray worker at its start; standard library only, nothing is imported.
"""

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from shards.errors import ConfigError

PACKAGES = ("reelmill", "curate", "shards", "train", "configs")
HOME = Path(__file__).resolve().parent.parent


def check_one_folder(packages: Iterable[str] = PACKAGES, home: Path = HOME) -> None:
    """Make sure that every package of this distribution is the one beside this file.

    Raises:
        ConfigError: Python would import one of them from elsewhere, or finds it nowhere.
    """
    for name, path in foreign_packages(packages, home).items():
        raise ConfigError(
            f"package {name} is {path or 'missing'}; {home / name} is expected; "
            "rename the other file or start from another folder"
        )


def foreign_packages(packages: Iterable[str] = PACKAGES, home: Path = HOME) -> dict[str, Path | None]:
    """Packages that Python finds outside `home`, with the file or folder it finds; None if it finds nothing."""
    found = {name: package_path(name) for name in packages}
    return {name: path for name, path in found.items() if path is None or path.resolve() != (home / name).resolve()}


def package_path(name: str) -> Path | None:
    """Folder of a package, or file of a module, as an import would find it now; None if there is none."""
    module = sys.modules.get(name)
    spec = module.__spec__ if module is not None else find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None
