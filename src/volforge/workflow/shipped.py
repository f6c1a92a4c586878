"""Where the workflow lies that belongs to this package: Snakefile, rules, envs, profiles, configurations, pages.

In a clone they stand at its top, and an editable install reads them there; a wheel holds copies beside the modules.
"""

from __future__ import annotations

import os
from pathlib import Path

from volforge.errors import VolforgeError

PACKAGE = Path(__file__).parents[1]
CONFIGURATIONS = (Path("config.yaml"), Path("config/config.yaml"))
"""Where the configuration of a folder is looked for, the first one first."""
LINK = Path(".snakemake/volforge_package")


def folder(package: Path = PACKAGE) -> Path:
    """The folder of `Snakefile`, `rules/`, `envs/`, `profiles/` and `config/`.

    Args:
        package: The folder of `volforge/__init__.py`.

    Raises:
        VolforgeError: The package was copied without them.
    """
    for place in (package / "shipped", package.parents[1]):
        if (place / "Snakefile").is_file() and (place / "rules").is_dir():
            return place
    text = "this installation of volforge has no Snakefile, neither in the package nor in a clone around it"
    raise VolforgeError(text, str(package), "install the wheel, or the clone with `pip install -e .`")


def importable(package: Path = PACKAGE) -> Path:
    """A folder for PYTHONPATH that brings this package and nothing else, for the environments that rules name.

    That is `src` of a clone. Beside the package of a wheel lie all libraries of its environment, which are not those of
    another one: a link to the package is made in the working directory.

    Args:
        package: The folder of `volforge/__init__.py`.
    """
    if folder(package) != package / "shipped":
        return package.parent
    link = LINK / package.name
    if not (link.is_symlink() and link.readlink() == package):
        LINK.mkdir(parents=True, exist_ok=True)
        fresh = LINK / f"{package.name}.{os.getpid()}"  # jobs of a cluster may do so at once
        fresh.symlink_to(package)
        fresh.replace(link)
    return LINK.absolute()


def own_configuration() -> Path | None:
    """The configuration of the working directory, None where there is none."""
    return next((path for path in CONFIGURATIONS if path.is_file()), None)
