"""The predictions of an arm of segmentation: one scan that cannot be segmented is a failure, and the others go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.study.cohorts import arm, labelled_cohort, measure, predict
from volforge.errors import ScanError
from volforge.inference.segment import Segmented
from volforge.study.cases import Case, Cohort
from volforge.tasks.segmentation import predict as room


def test_an_odd_scan_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = labelled_cohort(tmp_path)
    cohort = Cohort(scans)

    def segmenter(*_: object) -> object:
        def one(case: Case) -> tuple[Segmented, list[dict[str, object]]]:
            if case.scan == "s2":
                raise ScanError("the 0.5 and 99.5 percentiles inside the body are equal (100)")
            labels = cohort.read(case.scan, "labels")
            sure = np.ones(labels.shape, np.float32)
            return Segmented(labels, sure, sure), []

        return one

    monkeypatch.setattr(room, "segmenter", segmenter)
    settings = arm(tmp_path, inference={"threads": 1})
    assert predict(settings, scans, 0, tmp_path / "predictions", models={"all": tmp_path}) == 2
    assert "s2 is not segmented: the 0.5 and 99.5 percentiles" in capsys.readouterr().err
    rows = [r for r in measure(settings, scans, tmp_path) if r["measure"] == "dice"]
    assert {r["status"] for r in rows if r["scan"] == "s2"} == {"missing_prediction"}
    assert {float(r["value"]) for r in rows if r["scan"] == "s3"} == {1.0}
