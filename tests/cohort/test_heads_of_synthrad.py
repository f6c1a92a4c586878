"""Sheets of real heads for MR to CT: who trains, tunes and is tested, and that no training sees a pair."""

import runpy
from collections import Counter, defaultdict

import pytest

from tests.conftest import REAL, ROOT
from volforge.cohort.sheet import read_sheet

MAKER = runpy.run_path(str(ROOT / "config/examples/heads_of_synthrad.py"))
SHEETS = ROOT / "config/examples/sheets"
COMMITTED = {p.stem.removeprefix("head_mr_to_ct_"): p for p in sorted(SHEETS.glob("head_mr_to_ct_*.tsv"))}
HEADS = {"1BA012", "1BA091", "1BB002", "1BB007", "1BB031", "1BC039", "1BC050"}
VIEWS = ("axial", "coronal", "sagittal")


def rows_of(name):
    sheet = read_sheet(COMMITTED[name], root=REAL, check_files=False)
    assert sheet.problems == [], name
    return sheet.rows


def subjects(rows, **wanted):
    return {r.subject for r in rows if all(getattr(r, k) == v for k, v in wanted.items())}


def test_every_sheet_has_no_problem_and_names_its_terms():
    assert {*VIEWS, "axial_tune", "axial_ablation", "axial_paired", "axial_without_1BC"} == set(COMMITTED)
    for name, path in COMMITTED.items():
        rows_of(name)
        assert "CC BY-NC 4.0" in path.read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("name", COMMITTED)
def test_no_subject_stands_in_two_splits_and_no_column_of_the_import_names_the_mask_of_the_pairs(name):
    splits = defaultdict(set)
    for row in rows_of(name):
        splits[row.subject].add(row.split)
        assert set(row.files) == {"image"}
        assert "mask" not in row.files["image"]
    assert all(len(s) == 1 for s in splits.values())


@pytest.mark.parametrize("name", [n for n in COMMITTED if "paired" not in n])
def test_a_training_cannot_see_a_pair(name):
    trained = [r for r in rows_of(name) if r.split == "train"]
    assert not subjects(trained, modality="MR") & subjects(trained, modality="CT")
    assert {r.frame for r in trained} == {""}


@pytest.mark.parametrize("view", VIEWS)
def test_roles_of_a_view(view):
    rows = rows_of(view)
    tuned, tested, trained = (subjects(rows, split=s) for s in ("val", "test", "train"))
    assert (len(tuned), len(tested)) == (20, 40)
    assert Counter(s[:3] for s in tested) == {"1BA": 14, "1BB": 13, "1BC": 13}
    assert Counter(s[:3] for s in tuned) == {"1BA": 7, "1BB": 6, "1BC": 7}
    ours = {s for s in trained if s.startswith("1B")}
    assert len(ours) == 57
    assert ours >= HEADS
    assert len(subjects(rows, split="train", modality="MR") & ours) == 25
    assert len(subjects(rows, split="train", modality="CT")) == 25 + 7
    assert len({s for s in trained if s.startswith("IXI")}) == 60
    for subject in tuned | tested:
        pair = [r for r in rows if r.subject == subject]
        assert sorted((r.modality, r.frame) for r in pair) == [("CT", "1"), ("MR", "1")]


def test_roles_are_the_same_in_every_view_and_in_the_sheet_of_pairs():
    keys = ("subject", "split")
    of_view = {v: {tuple(getattr(r, k) for k in keys) for r in rows_of(v)} for v in (*VIEWS, "axial_paired")}
    assert of_view["axial"] == of_view["coronal"] == of_view["sagittal"] == of_view["axial_paired"]


def test_the_sheet_for_tuning_measures_those_who_tune_and_names_nobody_who_is_tested():
    main, tune = rows_of("axial"), rows_of("axial_tune")
    assert subjects(tune, split="test") == subjects(main, split="val")
    assert {r.subject for r in tune}.isdisjoint(subjects(main, split="test"))
    assert subjects(tune, split="train") == subjects(main, split="train")


def test_the_sheet_of_pairs_pairs_every_subject_that_trains():
    trained = [r for r in rows_of("axial_paired") if r.split == "train" and r.frame]
    assert len(trained) == 2 * 57
    assert subjects(trained, modality="MR") == subjects(trained, modality="CT")


def test_a_centre_that_is_held_out_is_only_tested():
    rows = rows_of("axial_without_1BC")
    here = [r for r in rows if r.free["centre"] == "1BC"]
    assert {r.split for r in here} == {"test"}
    assert {r.free["centre"] for r in rows if r.split == "test"} == {"1BC"}
    main = rows_of("axial")
    assert subjects(here).isdisjoint(subjects(main, split="val"))
    assert subjects(here).isdisjoint(HEADS)
    assert {s for s in subjects(main, split="test") if s.startswith("1BC")} <= subjects(here)


def test_roles_depend_on_the_names_alone():
    """By a hash: the order does not matter, and one more subject of a centre moves no subject of the others."""
    names = [f"1B{c}{n:03d}" for c in "ABC" for n in range(39)]
    roles = MAKER["roles_of"](names, HEADS)
    assert roles == MAKER["roles_of"](names[::-1], HEADS)
    assert Counter(roles.values()) == {"train": 57, "tune": 20, "test": 40}
    assert all(roles[s] == "train" for s in HEADS & set(names))


def test_a_folder_that_lacks_a_source_or_a_file_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="ixi_t1_2mm"):
        MAKER["sheets_of"](tmp_path)
    for name in ("synthrad23_brain_slices/1BA001", "synthrad23_head_ct/ct", "ixi_t1_2mm/t1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "synthrad23_brain_slices/1BA001/axial_ct.nii.gz").touch()
    with pytest.raises(SystemExit, match="axial_mr"):
        MAKER["sheets_of"](tmp_path)


def test_the_ablation_learns_from_the_ct_of_all_57_without_a_pair_and_looks_at_none_of_the_40():
    rows, every = rows_of("axial_ablation"), rows_of("axial_paired")
    learnt = subjects(rows, split="train", modality="CT")
    assert learnt == subjects(every, split="train", modality="CT")
    assert len(learnt) == 57
    assert not learnt & subjects(rows, split="train", modality="MR")
    assert subjects(rows, split="test") == subjects(every, split="val")
    assert not subjects(rows) & subjects(every, split="test")
