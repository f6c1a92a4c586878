"""A cohort of 1,000 scans from folders: 500 DICOM series and 500 NIfTI files discovered, checked and validated."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.conftest import save
from tests.dicom.files import write_series

SERIES, SLICES, VOLUMES = 500, 20, 500


def timed(words: list[str], folder: Path) -> tuple[float, str]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "volforge", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return time.monotonic() - began, done.stdout


def main() -> None:
    hu = np.full((32, 32, SLICES), -1000, dtype=np.int16)
    hu[8:24, 8:24] = 40
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in range(SERIES):
            patient = {"PatientName": "x", "PatientID": str(n // 2), "PatientBirthDate": ""}
            write_series(folder / f"dicom/{n // 2}/{n}", hu, series=str(n), patient=patient, SeriesNumber=n)
        for n in range(VOLUMES):
            save(folder / f"bids/sub-{n:04d}/anat/sub-{n:04d}_T1w.nii.gz", hu)
        total = 0.0
        for layout in ("dicom", "bids"):
            seconds, text = timed(["cohort", "discover", layout, "--layout", layout, "--out", f"{layout}.tsv"], folder)
            print(f"discover {layout}: {seconds:.1f} s: {text.splitlines()[0]}")
            total += seconds
        (folder / "c.yaml").write_text("cohorts:\n  a: {sheet: dicom.tsv}\n  b: {sheet: bids.tsv}\n")
        seconds, text = timed(["validate", "c.yaml"], folder)
        print(f"validate: {seconds:.1f} s: {text.strip()}")
        print(f"together: {total + seconds:.1f} s for {SERIES + VOLUMES} scans, {SERIES * SLICES + VOLUMES} files")


if __name__ == "__main__":
    main()
