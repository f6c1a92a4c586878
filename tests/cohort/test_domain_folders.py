"""The published folders trainA, trainB, maskA, testA, testB: export, and back to volumes and a sheet."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import TypeAdapter

from tests.conftest import save, volforge
from volforge.cohort.domain_folders import DomainImport, import_domains, looks_stretched, read_slice
from volforge.cohort.sheet import read_sheet
from volforge.config.models import Recipe
from volforge.errors import ProblemsError, VolforgeError
from volforge.volume.cut_scan import cut_scan
from volforge.volume.export_domains import DomainExport, export_domains, stretched
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.read import read_canonical

MR, CT = {"modality": "MR", "contrast": None}, {"modality": "CT", "contrast": None}
ROWS = (  # scan, subject, modality, split, frame
    ("a-mr", "Ann Patient", "MR", "train", ""),
    ("b-ct", "Bob Patient", "CT", "train", ""),
    ("c-mr", "Cy Patient", "MR", "test", "1"),
    ("c-ct", "Cy Patient", "CT", "test", "1"),
    ("v-mr", "Vic Patient", "MR", "val", ""),
)
AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])


def drawn(modality, seed):
    rng = np.random.default_rng(seed)
    ball = (
        (np.indices((30, 34, 5)) - np.array([14, 16, 2])[:, None, None, None]) ** 2 * [[[[1]]], [[[1]]], [[[4]]]]
    ).sum(axis=0) < 120
    values = rng.integers(20, 60, ball.shape) if modality == "CT" else rng.integers(200, 400, ball.shape)
    values[12:16, 12:16, 1:4] = 1300 if modality == "CT" else 90
    return np.where(ball, values, -1000 if modality == "CT" else rng.integers(0, 6, ball.shape)).astype(np.int16)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A recipe's folder and scans.tsv of five scans."""
    root = tmp_path_factory.mktemp("cohort")
    window = {"kind": "hu", "low": -1000, "high": 1800}
    recipe = TypeAdapter(Recipe).validate_python(
        {"kind": "slices", "axis": "axial", "ct_window": window, "min_body_mm2": 10}
    )
    lines = ["scan\tsubject\tmodality\tcontrast\tframe\tsplit\tfold\taccepted"]
    for n, (scan, subject, modality, split, frame) in enumerate(ROWS):
        file = save(root / f"{scan}.nii.gz", drawn(modality, n), AFFINE)
        request = ScanRequest(scan, modality, "hu" if modality == "CT" else "arbitrary", {"image": file})
        import_scan(request, ImportSettings(), root / "scans" / scan, record_refusal=False)
        cut_scan(root / "scans" / scan, recipe, root / "recipes/axial" / scan)
        lines.append(f"{scan}\t{subject}\t{modality}\t\t{frame}\t{split}\t{n % 2}\t1")
    (root / "scans.tsv").write_text("\n".join(lines) + "\n")
    return root


def export(cut, out, **how):
    return export_domains(cut / "recipes/axial", cut / "scans.tsv", out, DomainExport(MR, CT, **how))


@pytest.mark.parametrize(("form", "tolerance"), [("float", 0.0), ("png16", 0.03), ("png8", 5.6)])
def test_what_is_exported_comes_back_on_the_same_grid(cut, tmp_path, form, tolerance):
    counts = export(cut, tmp_path / "out", form=form)
    assert counts == {"trainA": 5, "trainB": 5, "maskA": 15, "testA": 5, "testB": 5, "valA": 5}
    assert import_domains(tmp_path / "out", tmp_path / "back", DomainImport()) == (5, 4)
    sheet = read_sheet(tmp_path / "back/sheet.tsv")
    assert sheet.problems == []
    by_scan = {r.scan: r for r in sheet.rows}
    assert {r.scan: (r.modality, r.split, r.frame) for r in sheet.rows} == {r[0]: (r[2], r[3], r[4]) for r in ROWS}
    assert by_scan["c-mr"].subject == by_scan["c-ct"].subject
    for scan, _, modality, _, _ in ROWS:
        image, grid = read_canonical(cut / "scans" / scan / "image.nii.gz", labels=False)
        back, grid_back = read_canonical(by_scan[scan].files["image"], labels=False)
        shown = grid_back.shape
        assert np.allclose(grid_back.spacing_mm, grid.spacing_mm)
        at = np.linalg.solve(grid.affine, grid_back.affine[:, 3])[:3]
        start = np.rint(at).astype(int)
        assert np.allclose(at, start, atol=1e-4)
        there = image[tuple(slice(s, s + n) for s, n in zip(start, shown, strict=True))]
        if modality == "CT":
            assert back.dtype == np.int16
            assert np.abs(back.astype(float) - np.maximum(there, -1000)).max() <= np.ceil(tolerance)
        else:
            low, high = np.percentile(
                image[read_canonical(cut / "scans" / scan / "body.nii.gz", labels=True)[0] > 0], [0.5, 99.5]
            )
            steps = {"float": 65534, "png16": 65534, "png8": 255}[form]
            assert np.abs(back - np.clip(there, low, high)).max() <= 1.01 * (high - low) / steps
            body = read_canonical(by_scan[scan].files["body_mask"], labels=True)[0] > 0
            whole = read_canonical(cut / "scans" / scan / "body.nii.gz", labels=True)[0] > 0
            assert body.sum() == whole.sum()


def test_names_of_subjects_are_nowhere_in_an_export_and_its_bytes_are_the_same_each_time(cut, tmp_path):
    for name in ("one", "two"):
        export(cut, tmp_path / name)
    files = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*") if p.is_file()
    }
    assert not any(b"Patient" in content or "Patient" in str(path) for path, content in files.items())
    assert {p.name for p in (tmp_path / "one/trainA").iterdir()} == {f"mr_a-mr_{n}.npz" for n in range(5)}
    assert {p.name for p in (tmp_path / "one/trainB").iterdir()} == {f"nct_b-ct_{n}.npz" for n in range(5)}
    assert {p.name for p in (tmp_path / "one/maskA").iterdir()} >= {f"mrmask_a-mr_{n}.npz" for n in range(5)}


def test_folds_take_the_place_of_splits(cut, tmp_path):
    counts = export(cut, tmp_path / "out", fold=0)
    assert counts["testA"] == 15  # a-mr, c-mr, v-mr of fold 0
    assert counts["trainA"] == 0
    assert counts["trainB"] == 10


@pytest.mark.parametrize(("top", "grey"), [(300, 204), (1200, 121)])
def test_the_published_stretch_gives_the_same_tissue_two_greys(top, grey):
    levels = (np.array([[-1000.0, 40.0, top]]) + 1000) / 2400 * 255
    assert stretched(levels)[0].tolist() == [0, grey, 255]


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20))
def test_a_stretched_slice_reaches_both_ends_or_is_flat(values):
    levels = stretched(np.array([values]))
    if max(values) > min(values):
        assert (levels.min(), levels.max()) == (0, 255)
    else:
        assert levels.max() == 0


def test_stretched_slices_have_no_hounsfield_units(cut, tmp_path):
    export(cut, tmp_path / "out", form="png8", legacy_stretch=True)
    with pytest.raises(ProblemsError, match="Hounsfield units are lost") as caught:
        import_domains(tmp_path / "out", tmp_path / "back", DomainImport())
    assert len(caught.value.problems) == 2  # both CTs
    assert not (tmp_path / "back").exists()
    import_domains(tmp_path / "out", tmp_path / "back", DomainImport(lost_units=True))
    units = {r.scan: r.unit for r in read_sheet(tmp_path / "back/sheet.tsv").rows}
    assert units["b-ct"] == "arbitrary"
    (tmp_path / "out/export.json").unlink()  # as a stranger made it: told by the slices themselves
    assert all(
        looks_stretched(np.stack([read_slice(p) for p in (tmp_path / "out/trainB").iterdir()])) for _ in range(1)
    )
    with pytest.raises(ProblemsError, match="Hounsfield units are lost"):
        import_domains(tmp_path / "out", tmp_path / "other", DomainImport())


def test_options_that_do_not_fit_are_errors(cut, tmp_path):
    with pytest.raises(VolforgeError, match="8 bit only"):
        DomainExport(MR, CT, form="png16", legacy_stretch=True)
    with pytest.raises(VolforgeError, match="same scans"):
        DomainExport(MR, MR)
    with pytest.raises(VolforgeError, match="no scan of CBCT"):
        export_domains(
            cut / "recipes/axial",
            cut / "scans.tsv",
            tmp_path / "x",
            DomainExport(MR, {"modality": "CBCT", "contrast": None}),
        )


def published(root):
    """A folder as published code writes it: 8-bit, one window for all slices, ids by patient."""
    rng = np.random.default_rng(0)
    for folder, prefix, pid in (
        ("trainA", "mr", "p 1"),
        ("trainB", "nct", "p2"),
        ("testA", "mr", "p_3"),
        ("testB", "nct", "p_3"),
    ):
        for n in range(7, 10):
            grey = rng.integers(90, 130, (20, 24)).astype(np.uint8)
            grey[0] = 0
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(root / folder / f"{prefix}_{pid}_{n}.png")
            if prefix == "mr":
                (root / "maskA").mkdir(exist_ok=True)
                mask = np.full((20, 24), 255, np.uint8)
                mask[0] = 0
                Image.fromarray(np.repeat(mask[..., None], 3, 2)).save(root / f"maskA/mrmask_{pid}_{n}.png")
    return root


def test_a_folder_of_a_stranger_becomes_volumes_and_a_sheet(tmp_path):
    how = DomainImport(spacing_mm=(1.5, 1.25, 4.0), paired=True)
    assert import_domains(published(tmp_path / "in"), tmp_path / "out", how) == (4, 3)
    sheet = read_sheet(tmp_path / "out/sheet.tsv")
    assert sheet.problems == []
    found = {(r.subject, r.modality): r for r in sheet.rows}
    assert {k: (r.split, r.frame) for k, r in found.items()} == {
        ("p 1", "MR"): ("train", ""), ("p2", "CT"): ("train", ""), ("p_3", "MR"): ("test", "1"), ("p_3", "CT"): ("test", "1"),
    }  # fmt: skip
    image, grid = read_canonical(found["p2", "CT"].files["image"], labels=False)
    assert image.shape == (24, 20, 3)
    assert np.allclose(grid.spacing_mm, (1.25, 1.5, 4.0))
    assert np.allclose(grid.affine[:3, 3], (0, 0, 28))  # slice 7 lies at seven slices' distance
    source = np.asarray(Image.open(tmp_path / "in/trainB/nct_p2_8.png")).astype(float)
    assert image[23, 19, 1] == np.rint(source[0, 0] / 255 * 2400 - 1000) == -1000  # right and front: upper left
    assert image[0, 0, 1] == np.rint(source[-1, -1] / 255 * 2400 - 1000)
    mask = read_canonical(found["p_3", "MR"].files["body_mask"], labels=True)[0]
    assert mask.sum() == 24 * 19 * 3


def test_every_problem_of_a_folder_is_said_at_once(tmp_path):
    root = published(tmp_path / "in")
    (root / "trainA/scan7.png").write_bytes(b"x")
    (root / "trainB/nct_p2_8.png").write_bytes(b"no picture")
    (root / "trainA/mr_p 1_8.png").rename(root / "trainA/mr_p 1_12.png")
    Image.fromarray(np.full((5, 5), 9, np.uint8)).save(root / "testA/mr_p_3_10.png")
    np.save(root / "testB/nct_p_3_7.npy", np.zeros((20, 24), np.float32))
    Image.fromarray(np.full((20, 24), 9, np.uint8)).save(root / "trainA/mr_p_3_1.png")
    Image.fromarray(np.full((20, 24), 255, np.uint8)).save(root / "maskA/mrmask_nobody_1.png")
    colours = np.zeros((20, 24, 3), np.uint8)
    colours[..., 1] = 7
    Image.fromarray(colours).save(root / "testB/nct_p_3_10.png")
    with pytest.raises(ProblemsError) as caught:
        import_domains(root, tmp_path / "out", DomainImport())
    text = str(caught.value)
    for words in (
        "the name tells neither patient nor slice",
        "cannot be read",
        "slices are missing between others: 8",
        "slices of several sizes",
        "stands already in nct_p_3_7",
        "stands in test and train; that would leak",
        "masks of a patient without images",
        "a picture in colours",
        "masks and images differ",
    ):
        assert words in text, words
    assert not (tmp_path / "out").exists()


def test_a_folder_without_the_layout_is_an_error(tmp_path):
    with pytest.raises(VolforgeError, match="none of the layout's folders"):
        import_domains(tmp_path, tmp_path / "out", DomainImport())


def test_both_commands(cut, tmp_path):
    done = volforge(
        "cohort", "slices", cut / "recipes/axial", "--scans", cut / "scans.tsv", "--out", tmp_path / "out",
        "--source", "MR", "--target", "CT", "--form", "png16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "trainA 5" in done.stdout
    assert json.loads((tmp_path / "out/export.json").read_text())["form"] == "png16"
    done = volforge("cohort", "stack", tmp_path / "out", "--out", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "back/sheet.tsv").open() as file:
        rows = list(csv.DictReader((x for x in file if not x.startswith("#")), delimiter="\t"))
    assert len(rows) == 5
    done = volforge("cohort", "stack", tmp_path / "out", "--out", tmp_path / "x", "--spacing-mm", "1,2")
    assert done.returncode == 1
    assert "three" in done.stderr


def stacked(folder, values):
    for part, name in (("trainA", "mr_1"), ("trainB", "nct_2")):
        (folder / part).mkdir(parents=True)
        for i in range(4):
            image = values if part == "trainB" else np.linspace(0, 300, 1024).reshape(32, 32)
            np.savez(folder / part / f"{name}_{i}.npz", image=image)
    return folder


def test_arrays_hold_values_and_pictures_greys(tmp_path):
    values = np.linspace(0, 3000, 1024).reshape(32, 32).astype(np.uint16)
    import_domains(stacked(tmp_path / "in", values), tmp_path / "out", DomainImport())
    (made,) = [p for p in (tmp_path / "out").rglob("*.nii.gz") if "ct" in p.name]
    assert read_canonical(made, labels=False)[0].max() == 3000


def test_values_that_are_no_hu_are_refused_and_not_wrapped(tmp_path):
    with pytest.raises(ProblemsError, match="values from 40000 to 40000 are no Hounsfield units"):
        import_domains(stacked(tmp_path / "in", np.full((32, 32), 40000.0)), tmp_path / "out", DomainImport())
    assert not list((tmp_path / "out").rglob("*.nii.gz"))
