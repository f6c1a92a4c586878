"""Planning a cohort of 4,000 scans: time and memory of `snakemake -n`, and of `volforge validate`."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_cohort(folder: Path, count: int) -> None:
    """A sheet of `count` scans with labels, their (empty) files, and a configuration with one recipe."""
    (folder / "data").mkdir()
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source"]
    for n in range(count):
        for kind in ("image", "labels"):
            (folder / f"data/{n}_{kind}.nii.gz").touch()
        lines.append(f"p{n:05d}\ts{n:05d}\tCT\tdata/{n}_image.nii.gz\tdata/{n}_labels.nii.gz\texpert")
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(
        "cohorts:\n  large: {sheet: sheet.tsv, recipes: [axial]}\nrecipes:\n  axial: {kind: slices, size: [256, 256]}\n"
    )


def main() -> None:
    """Print one line per command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cohort(folder, 4000)
        plan = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--quiet", "rules"]
        for title, command in {
            "validate, 4,000 scans": [sys.executable, "-m", "volforge", "validate", "config.yaml"],
            "snakemake -n, 4,000 scans": [*plan, "--configfile", "config.yaml", "--cores", "1"],
            "volforge --help": [sys.executable, "-m", "volforge", "--help"],
            "import of the import stage": [sys.executable, "-c", "import volforge.volume.import_scan"],
            "import of the cut stage": [
                sys.executable,
                "-c",
                "import volforge.volume.cut_scan, volforge.volume.store, blosc2",
            ],
        }.items():
            times = []
            for _ in range(3):
                start = time.perf_counter()
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
                times.append(time.perf_counter() - start)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
            print(f"{title}: {sorted(times)[1]:.2f} s (largest process so far {peak:.0f} MiB)")


if __name__ == "__main__":
    main()
