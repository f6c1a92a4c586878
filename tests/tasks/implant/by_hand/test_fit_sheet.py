"""`volforge implant fit`: a model of a sheet's skulls, whose terms are known; and docs/implants.md as it is printed."""

import json
import shlex
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.tasks.implant.by_hand.conftest import SIDE, holed, save, shell
from volforge.cli import main
from volforge.errors import VolforgeError
from volforge.tasks.implant.by_hand.case import predict_case
from volforge.tasks.implant.kriging.closings import closings, judged
from volforge.tasks.implant.kriging.doubts import SIGNS
from volforge.tasks.implant.kriging.fit import fit
from volforge.tasks.implant.kriging.intervals import LEVELS, SURFACES
from volforge.tasks.implant.kriging.model import load_kriged, model_from, tensors_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.tasks.implant.kriging.sheet import fit_sheet

QUICK = {"disc": {"pixel_mm": 4.0}, "calibrated": False, "lengths_mm": [12, 24]}
COMMANDS = [
    line
    for line in (ROOT / "docs/implants.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("volforge ")
]


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """Five subjects with a complete skull; one is tested, one has two scans, one row is a CT without a file."""
    folder = tmp_path_factory.mktemp("sheet")
    for n in range(6):
        mask, affine = shell(n)
        save(folder / f"{n}.nii.gz", mask > 0, affine)
    rows = ["# licence: CC BY-NC-SA 4.0, of the test", "subject\tscan\tmodality\timage\tsplit"]
    rows += [f"s{min(n, 4)}\tscan{n}\tmask\t{n}.nii.gz\t{'test' if n == 0 else 'train'}" for n in range(6)]
    (folder / "skulls.tsv").write_text("\n".join(rows) + "\n")
    return folder / "skulls.tsv"


def test_a_model_of_a_sheet_closes_a_hole_and_names_its_terms(sheet, tmp_path):
    said = []
    assert fit_sheet(sheet, tmp_path / "m", settings=QUICK, say=said.append) == 4
    _, about = load_kriged(tmp_path / "m")
    assert about["licence"] == "CC BY-NC-SA 4.0, of the test"
    assert about["subjects"]["training"] == ["s1", "s2", "s3", "s4"]
    assert set(about["thresholds"]) == set(SIGNS)
    assert about["thresholds_from"] == 4
    skull, missing, affine = holed(SIDE)
    report = predict_case(save(tmp_path / "s.nii.gz", skull, affine), tmp_path / "m", tmp_path / "out")
    assert report["model"] == {"sha256": about["sha256"], "licence": about["licence"]}
    assert report["volume_cm3"] == pytest.approx(missing.sum() * 2.5**3 / 1000, rel=0.2)
    assert report["limits"] == about["thresholds"]


def test_a_number_of_skulls_in_the_settings_counts_and_a_wrong_value_is_named(sheet, tmp_path):
    assert fit_sheet(sheet, tmp_path / "m", settings={**QUICK, "skulls": 3, "closed": 0}) == 3
    with pytest.raises(VolforgeError, match=r"passes\.count is 0"):
        fit_sheet(sheet, tmp_path / "n", settings={**QUICK, "passes": {"count": 0}})


@pytest.mark.parametrize("first", [True, False])
def test_what_is_no_skull_is_named(sheet, tmp_path, first):
    blob = np.zeros((40, 40, 40), bool)
    blob[15:20, 15:20, 15:20] = True
    save(tmp_path / "blob.nii.gz", blob, np.diag([2.0, 2.0, 2.0, 1.0]))
    lines = sheet.read_text().splitlines()
    rows = [r.replace("\t", "\t", 1) for r in lines[2:]]
    rows = [r.replace(f"{n}.nii.gz", str(sheet.parent / f"{n}.nii.gz")) for n, r in enumerate(rows)]
    odd = f"odd\tthe-blob\tmask\t{tmp_path / 'blob.nii.gz'}\ttrain"
    every = [odd, *rows] if first else [*rows, odd]
    (tmp_path / "s.tsv").write_text("\n".join([*lines[:2], *every]) + "\n")
    with pytest.raises(VolforgeError, match=r"no complete skull.*the-blob"):
        fit_sheet(tmp_path / "s.tsv", tmp_path / "m", settings=QUICK)
    assert not (tmp_path / "m").exists()


def test_terms_are_not_guessed_and_an_option_goes_first(sheet, tmp_path):
    bare = tmp_path / "bare.tsv"
    bare.write_text("\n".join(sheet.read_text().splitlines()[1:]) + "\n")
    with pytest.raises(VolforgeError, match="terms of the skulls"):
        fit_sheet(bare, tmp_path / "m", settings=QUICK, root=sheet.parent)
    assert not (tmp_path / "m").exists()
    with pytest.raises(VolforgeError, match="2 subjects"):
        fit_sheet(sheet, tmp_path / "m", "mine", QUICK, 2)
    with pytest.raises(VolforgeError, match="--settings"):
        fit_sheet(sheet, tmp_path / "m", "mine", {"pixels": 3})


def test_limits_come_from_the_skulls_own_holes_or_drawn_ones():
    settings = KrigingSettings.of(QUICK)
    found = fit(4, shell, settings)
    read = []

    def defective(number):
        read.append(number)
        return None if number else holed(SIDE, seed=0)[0].view(np.uint8)

    names = ["a", "b", "c", "d"]
    cases = closings(found.model, found, shell, defective, names, 1)
    assert sorted(read) == [0, 1, 2, 3]
    assert len(cases) == 4
    model, own = judged(found.model, found, shell, defective, names, 1)
    assert all(case.signs[sign] <= own.limits[sign] for case in cases for sign in SIGNS)
    assert own.skulls == 4
    assert model.intervals is None, "a model without calibrated variances has no intervals of its own"
    assert own.told["half_widths"] == {}


def test_intervals_hold_the_shares_of_errors_that_they_were_learnt_from():
    settings = KrigingSettings.of({**QUICK, "calibrated": True})
    found = fit(4, shell, settings)
    names = ["a", "b", "c", "d"]
    cases = closings(found.model, found, shell, lambda _: None, names, 1)
    holes = [s for c in cases for s in c.scores]
    assert len(holes) == 8, "each skull's first hole, and another that is drawn"
    model, own = judged(found.model, found, shell, lambda _: None, names, 1)
    assert own.holes == 8
    for surface, name in enumerate(SURFACES):
        widths = model.intervals.half_widths[surface]
        assert own.told["half_widths"][name] == pytest.approx(widths, abs=1e-4)
        inside = np.mean([(s[surface][:, None] <= widths).mean(axis=0) for s in holes], axis=0)
        assert inside == pytest.approx(LEVELS, abs=0.02)
    back = model_from(tensors_of(model), settings)
    assert np.array_equal(back.intervals.half_widths, model.intervals.half_widths)


def test_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    """As they are printed, but for coarser voxels, fewer skulls and a coarser model."""
    assert len(COMMANDS) == 5
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    for line in COMMANDS:
        words = shlex.split(line.replace("--spacing-mm 2", "--spacing-mm 3.4"))
        if words[1:3] == ["implant", "fit"]:
            words += ["--skulls", "4", "--settings", json.dumps(QUICK)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, (line, capsys.readouterr().err)
    for name in ("skull-01", "skull-02", "skull-05"):
        report = json.loads((tmp_path / f"demo/{name}/report.json").read_text())
        assert report["model"]["licence"] == "CC0-1.0, drawn skulls"
        assert report["volume_cm3"] > 5
    assert (tmp_path / "demo/skull-05/implant.nrrd").exists()
