"""`predictions.tsv`: what an arm predicted, one row per case and sample."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from volforge.cohort.collect import as_tsv
from volforge.volume.write import write_whole

FILE = "predictions.tsv"


@dataclass(frozen=True)
class Prediction:
    """One predicted volume.

    Attributes:
        scan: Scan that was read.
        subject: Its subject.
        reference: Scan that it is compared with.
        label_source: Where the reference's labels come from.
        sample: Number of the sample of one input, 0 where there is one.
        file: The volume, relative to the folder or absolute; empty where there is none (a failure).
        confidence: Probability of the predicted label, by voxel; empty where the arm gives none.
        deviation: Standard deviation of predicted HU, by voxel; empty where the arm gives none.
        cross_entropy_nats: Mean over the region, where logits existed; else empty.
        sha256: Hash of the file.
    """

    scan: str
    subject: str
    reference: str
    label_source: str
    sample: int = 0
    file: str = ""
    confidence: str = ""
    deviation: str = ""
    cross_entropy_nats: str = ""
    sha256: str = ""

    def path(self, folder: Path) -> Path:
        """The volume's path."""
        return folder / self.file


def write_predictions(folder: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions.tsv."""
    columns = [f.name for f in fields(Prediction)]
    write_whole(folder / FILE, as_tsv(columns, [asdict(p) for p in predictions]))


def read_predictions(folder: Path) -> list[Prediction]:
    """Read predictions.tsv."""
    with (folder / FILE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [Prediction(**{**r, "sample": int(r["sample"])}) for r in rows]  # type: ignore[arg-type]
