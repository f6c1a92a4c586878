"""The line that starts Snakemake on the workflow of this package, in the folder of a project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.workflow import shipped
from volforge.workflow.first_look import look_first

REMEDY = "make a project with `volforge new FOLDER` and start it there, or name the file: `volforge run my.yaml`"
PARTITIONS = Path("profiles/slurm/partitions.yaml")


def arguments(
    configfiles: Sequence[Path], *, dry_run: bool = False, slurm: bool = False, others: Sequence[str] = ()
) -> list[str]:
    """Arguments of `snakemake`, from the working directory.

    A folder `profiles/local` or `profiles/slurm` of the project goes before that of the package, and so does a file of
    partitions alone.

    Args:
        configfiles: Of the run, later ones win; empty: `config.yaml` or `config/config.yaml`.
        dry_run: Say what would run.
        slurm: Send jobs to a SLURM cluster.
        others: Further arguments of Snakemake, which win over all that stands before them.

    Raises:
        VolforgeError: There is no such configuration, or one that must not be read; the package lacks its workflow.
    """
    files = list(configfiles)
    if not files:
        found = shipped.own_configuration()
        if found is None:
            text = f"no configuration in this folder: neither {' nor '.join(map(str, shipped.CONFIGURATIONS))}"
            raise VolforgeError(text, os.getcwd(), REMEDY)
        files = [found]
    for file in files:
        if not file.is_file():
            raise VolforgeError("there is no such configuration", str(file), REMEDY)
    look_first(files)
    home = shipped.folder()
    name = "slurm" if slurm else "local"
    own = Path("profiles") / name
    is_own = (own / "config.yaml").is_file()
    words = ["--snakefile", str(home / "Snakefile"), "--configfile", *map(str, files)]
    words += ["--profile", str(own if is_own else home / own)]
    if slurm and not (is_own and PARTITIONS.is_file()):  # the profile names the file from the working directory
        partitions = PARTITIONS if PARTITIONS.is_file() else home / PARTITIONS
        words += ["--volforge-slurm-partition-config", str(partitions)]
    return [*words, *(["--dry-run"] if dry_run else []), *others]
