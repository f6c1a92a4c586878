"""`predictions.tsv`: what an arm predicted, one row per case and sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from volforge.cohort.collect import as_tsv
from volforge.volume.folders import read_rows
from volforge.whole_file import write_whole

PANEL = ".panel.png"  # ending of pictures of samples, after the scan's name
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
        cross_entropy_nats: Mean over the region by structure and side (`condyle/left=0.02 ...`), where probabilities
            existed; else empty.
        legacy_cross_entropy_nats: The same of the doubled softmax.
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
    legacy_cross_entropy_nats: str = ""
    sha256: str = ""

    def path(self, folder: Path) -> Path:
        """The volume's path."""
        return folder / self.file


def by_structure(values: Iterable[tuple[str, str, float]]) -> str:
    """Values by structure and side as one cell."""
    return " ".join(f"{structure}/{side}={value:.10g}" for structure, side, value in values)


def parse_by_structure(cell: str) -> list[tuple[str, str, float]]:
    """Structure, side and value from such a cell."""
    found = []
    for word in cell.split():
        name, value = word.split("=")
        structure, side = name.split("/")
        found.append((structure, side, float(value)))
    return found


def write_predictions(folder: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions.tsv."""
    columns = [f.name for f in fields(Prediction)]
    write_whole(folder / FILE, as_tsv(columns, [asdict(p) for p in predictions]))


def read_predictions(folder: Path) -> list[Prediction]:
    """Read predictions.tsv."""
    rows = read_rows(folder / FILE, "a table of predictions", [f.name for f in fields(Prediction)])
    return [Prediction(**{**r, "sample": int(r["sample"])}) for r in rows]  # type: ignore[arg-type]
