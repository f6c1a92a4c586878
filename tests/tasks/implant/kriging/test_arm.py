"""A kriged model as an arm of a study: fitted on the skulls that are not tested, and doubts beside its predictions."""

import csv
import time

import numpy as np
import pytest

from tests.tasks.implant.by_hand.conftest import SIDE, holed, save
from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort
from volforge.study.jobs import PredictJob, TrainJob
from volforge.study.predict import predict_each
from volforge.tasks.implant.kriging.arm import fit_arm, kriging_predictor
from volforge.tasks.implant.kriging.doubts import FILE, SIGNS
from volforge.tasks.implant.kriging.model import load_kriged
from volforge.volume.folders import write_json
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan

SETTINGS = {"disc": {"pixel_mm": 4.0}, "calibrated": False, "lengths_mm": [12, 24]}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """scans.tsv of five imported skulls with holes; the last is tested."""
    folder = tmp_path_factory.mktemp("cohort")
    lines = ["scan\tsubject\taccepted\tmodality\tsplit\tfold\tlabel_source"]
    for n in range(5):
        skull, missing, affine = holed(SIDE, seed=n)
        files = {
            name: save(folder / f"{n}_{name}.nii.gz", mask, affine)
            for name, mask in (("defective", skull), ("implant", missing))
        }
        request = ScanRequest(f"c{n}", "mask", "arbitrary", files)
        import_scan(request, ImportSettings(), folder / "scans" / f"c{n}", record_refusal=False)
        lines.append(f"c{n}\ts{n}\t1\tmask\t{'test' if n == 4 else 'train'}\t\t")
    (folder / "scans.tsv").write_text("\n".join(lines) + "\n")
    return folder / "scans.tsv"


def settings_of(folder, **kriging):
    content = {"study": "s", "arm": "a", "model": "m", "task": "implant", "by_fold": False, "kriging": kriging}
    write_json(folder / "m.train.json", content)
    return folder / "m.train.json"


def test_an_arm_knows_its_doubts_and_writes_them_beside_its_predictions(scans, tmp_path):
    job = TrainJob(scans, 0, 0, tmp_path / "checkpoints", tmp_path / "model")
    assert fit_arm(settings_of(tmp_path, **SETTINGS), job) == ""
    _, about = load_kriged(tmp_path / "model")
    assert about["subjects"]["training"] == ["s0", "s1", "s2", "s3"]
    assert set(about["thresholds"]) == set(SIGNS)
    assert about["thresholds_from"] == 4
    assert about["half_widths"] == {}, "variances are not calibrated here"
    assert about["half_widths_from"] == 0
    cohort = Cohort(scans)
    predictor = kriging_predictor(cohort, tmp_path / "model")
    cases = [Case("c4", "s4", "c4", "")]
    ask = PredictJob(scans, 0, tmp_path / "predictions")
    assert (
        predict_each(
            ask, cohort, cases, predictor, labels=True, start=time.perf_counter(), beside=predictor.write_doubts
        )
        == 1
    )
    with (tmp_path / "predictions" / FILE).open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert row["scan"] == "c4"
    assert row["holes"] == "1"
    over = [s for s in SIGNS if float(row[s]) > about["thresholds"][s] + 1e-4]
    assert bool(row["doubts"]) == bool(over)
    from volforge.volume.read import read_canonical

    found = read_canonical(tmp_path / "predictions/c4.nii.gz", labels=True)[0] > 0
    truth = cohort.read("c4", "implant") > 0
    assert 2 * np.count_nonzero(found & truth) > 0.8 * (found.sum() + truth.sum())


def test_too_few_skulls_are_named(scans, tmp_path):
    job = TrainJob(scans, 0, 0, tmp_path / "checkpoints", tmp_path / "model")
    with pytest.raises(VolforgeError, match="2 subjects"):
        fit_arm(settings_of(tmp_path, **SETTINGS, skulls=2), job)


def test_a_skull_that_nothing_is_known_of_fails_alone(scans, tmp_path, monkeypatch, capsys):
    import volforge.tasks.implant.kriging.arm as room

    fit_arm(settings_of(tmp_path, **SETTINGS), TrainJob(scans, 0, 0, tmp_path / "c", tmp_path / "model"))
    predictor = room.kriging_predictor(Cohort(scans), tmp_path / "model")

    def refuse(*_, **__):
        raise VolforgeError("no bone of the skull can be trusted", "kriging")

    monkeypatch.setattr(room, "krige", refuse)
    labels, confidence = predictor(Case("c4", "p4", "c4", ""))
    assert not labels.any()
    assert confidence is None
    assert "c4 is not completed: kriging: no bone" in capsys.readouterr().err
    predictor.write_doubts(tmp_path)
    assert (tmp_path / FILE).read_text().splitlines()[1].endswith("\tnot_completed")
