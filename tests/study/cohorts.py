"""Small imported cohorts and arm settings for the tests of studies."""

from pathlib import Path

import numpy as np

from tests.conftest import ball_ct, save
from volforge import places
from volforge.cohort.collect import collect_scans
from volforge.cohort.sheet import read_sheet
from volforge.study.jobs import MeasureJob, PredictJob
from volforge.study.measures import read_measures
from volforge.study.settings import ArmSettings
from volforge.tasks.registry import task
from volforge.volume.folders import write_json
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan

SHAPE = (40, 40, 30)
AFFINE = np.array([[0, -1.2, 0, 5], [1.5, 0, 0, -7], [0, 0, 2.0, 3], [0, 0, 0, 1]])
METRICS = {
    "tolerances_mm": [1.0, 2.0], "surface": "voxels", "boundary_mm": 10, "range_hu": [-1024, 3000], "structural": False,
    "distribution": False, "window_hu": [-1000, 1000], "encoder_steps": 2, "segmenter_steps": 0, "segmenter_mm": 3.0,
    "utility": False, "legacy": False,
}  # fmt: skip
SPLITS = {
    "seed": 0,
    "folds": 2,
    "splits": {"train": 0.5, "val": 0.0, "test": 0.5},
    "on_bad_scan": "stop",
    "makes_labels": False,
}


def labels_of(image: np.ndarray, shift: int = 0) -> np.ndarray:
    """Two halves of the ball: 1 left, 2 right of the first axis' middle."""
    inside = np.roll(image > 0, shift, axis=2)
    labels = inside.astype(np.uint8)
    labels[image.shape[0] // 2 :] *= 2
    return labels


def labelled_cohort(folder: Path, subjects: int = 4) -> Path:
    """Balls with labels on an axis order that is not RAS; the last two subjects are tested. Returns scans.tsv."""
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    for i in range(subjects):
        image = ball_ct(SHAPE, 9 + i)
        save(folder / f"s{i}.nii.gz", image, AFFINE)
        save(folder / f"s{i}_l.nii.gz", labels_of(image), AFFINE)
        split = "test" if i >= subjects - 2 else "train"
        lines.append(f"p{i}\ts{i}\tCT\ts{i}.nii.gz\ts{i}_l.nii.gz\texpert\t{split}")
    return imported(folder, lines, {"ball_left": 1, "ball_right": 2})


def imported(folder: Path, lines: list[str], structures: dict[str, int], **settings) -> Path:
    """Import all rows of a sheet and collect them; returns scans.tsv. Keywords are further import settings."""
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n")
    sheet = read_sheet(folder / "sheet.tsv")
    cohort = folder / "results/cohorts/c"
    colours = dict.fromkeys(structures, "#ff8800")
    for r in sheet.rows:
        request = ScanRequest(r.scan, r.modality, r.unit, {c: Path(p) for c, p in r.files.items()})
        import_scan(
            request, ImportSettings(structures, colours, **settings), cohort / "scans" / r.scan, record_refusal=False
        )
    write_json(cohort / "settings.json", {"structures": structures, "colours": colours})
    collect_scans(sheet.rows, cohort / "scans", cohort / "scans.tsv", SPLITS)
    return cohort / "scans.tsv"


def arm(folder: Path, **more) -> ArmSettings:
    """Settings of an arm, predict.json and settings.json of a folder; keywords replace the defaults."""
    content = {
        "study": "s", "arm": "a", "task": "segmentation", "cohort": "c", "by_fold": False,
        "structures": [
            {"structure": "ball", "side": "left", "id": 1}, {"structure": "ball", "side": "right", "id": 2},
        ],
        "metrics": METRICS, "cases": 6, "predictions": "", "weights": {}, "baseline": None,
        "threshold_hu": 250, "constant_hu": 40, "closing_mm": 20,
    }  # fmt: skip
    if more.get("task") in ("semantic_synthesis", "translation"):
        content |= {
            "source": {"modality": "MR", "contrast": None},
            "target": {"modality": "CT", "contrast": None},
        }
    content |= more
    own = task(content["task"])
    write_json(folder / "predict.json", content | {"metrics": {}, "cases": 0, "entry": own.predict})
    write_json(folder / "settings.json", content | {"entry": own.measure})
    return ArmSettings.load(folder / "settings.json")


def predict(settings: ArmSettings, scans: Path, fold: int, out: Path, **more) -> int:
    """Predict the cases of an arm as its task does; keywords are further parts of the job."""
    made: int = places.at(task(settings.task).predict)(settings, PredictJob(scans, fold, out, **more))
    return made


def measure(settings: ArmSettings, scans: Path, folder: Path, fold: int = 0, **more) -> list[dict[str, str]]:
    """Measure `predictions` of a folder as the arm's task does, into `measures.tsv` and `cases` beside them."""
    out = folder / "measures.tsv"
    job = MeasureJob(scans, folder / "predictions", out, folder / "cases", fold, **more)
    assert places.at(task(settings.task).measure)(settings, job) == len(read_measures(out))
    return read_measures(out)
