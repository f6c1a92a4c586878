"""What stands behind a folder, a list or a header, edited in place: the import of its scan is another job then."""

import os
import time
from pathlib import Path

import pytest

from tests.conftest import ball_ct, save, snakemake
from volforge.volume.companions import companions
from volforge.workflow.jobs import file_stamps

MHD = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 3\nElementType = MET_UCHAR\nElementDataFile = "
NRRD = "NRRD0005\ntype: uchar\ndimension: 3\nsizes: 4 4 3\nencoding: raw\ndata file: "


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def folder(at):
    write(at / "labels/ball.nii.gz", "a")
    return at / "labels", at / "labels/ball.nii.gz"


def nested_folder(at):
    write(at / "dicom/a/1.dcm", "a")
    return at / "dicom", write(at / "dicom/a/b/2.dcm", "b")


def linked_folder(at):
    file = write(at / "elsewhere/s/1.dcm", "a")
    (at / "dicom").mkdir()
    (at / "dicom/s").symlink_to(at / "elsewhere/s")
    (at / "elsewhere/s/up").symlink_to(at / "elsewhere")  # a circle
    return at / "dicom", file


def slice_list(at):
    write(at / "s/1.dcm", "a")
    return write(at / "s.txt", "# slices\ns/1.dcm\n s/2.dcm \r\n"), write(at / "s/2.dcm", "b")


def structure_list(at):
    write(at / "l/4d.nii.gz", "a")
    return write(at / "l.tsv", "structure\tfile\tvalue\nball\tl/4d.nii.gz#1\t1\n"), at / "l/4d.nii.gz"


def list_of_folders(at):
    return write(at / "l.tsv", "structure\tfile\nball\tpng stack\n"), write(at / "png stack/07.png", "x")


def list_with_a_header(at):
    write(at / "l.tsv", "structure\tfile\nball\tm.mhd\n")
    write(at / "m.mhd", MHD + "LIST\nr/0.raw\nr/1.raw\n")
    return at / "l.tsv", write(at / "r/1.raw", "x")


def header_with_a_list(at):
    return write(at / "m.mhd", MHD + "LIST\na.raw\nb b.raw\n"), write(at / "b b.raw", "x")


def header_with_a_pattern(at):
    return write(at / "m.mhd", MHD + "s%03d.raw 1 3 1\n"), write(at / "s003.raw", "x")


def header_with_one_file(at):
    return write(at / "m.mhd", MHD + "Ärger und mehr.raw\n"), write(at / "Ärger und mehr.raw", "x")


def nrrd_with_a_list(at):
    return write(at / "m.nhdr", NRRD + "LIST\na.raw\nb.raw\n"), write(at / "b.raw", "x")


def nrrd_with_a_pattern(at):
    return write(at / "m.nrrd", NRRD + "./s%d.raw 1 2 1 2\n\n"), write(at / "s2.raw", "x")


def pair(at):
    return write(at / "p.hdr", "head"), write(at / "p.img", "x")


def header_in_a_folder(at):
    write(at / "labels/ball.mhd", MHD + "../values/v.raw\n")
    return at / "labels", write(at / "values/v.raw", "x")


def plain_file(at):
    return (write(at / "map.nii.gz", "a"),) * 2


CASES = (
    folder, nested_folder, linked_folder, slice_list, structure_list, list_of_folders, list_with_a_header,
    header_with_a_list, header_with_a_pattern, header_with_one_file, nrrd_with_a_list, nrrd_with_a_pattern, pair,
    header_in_a_folder, plain_file,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_an_edit_in_place_is_another_stamp_and_nothing_else_is(tmp_path, case):
    given, edited = case(tmp_path)
    first = file_stamps([str(given)])
    assert file_stamps([str(given)]) == first
    size, time_ns = edited.stat().st_size, edited.stat().st_mtime_ns
    edited.write_text("y" * size)
    os.utime(edited, ns=(time_ns, time_ns + 1_000_000))
    later = file_stamps([str(given)])
    assert later != first
    os.utime(edited, ns=(time_ns, time_ns - 10**9))  # an older file in its place
    assert file_stamps([str(given)]) not in (first, later)
    edited.unlink()
    assert file_stamps([str(given)]) not in (first, later)


def test_a_folder_that_was_only_touched_keeps_its_stamp(tmp_path):
    given, _ = nested_folder(tmp_path)
    first = file_stamps([str(given)])
    write(given / ".DS_Store", "x")
    os.utime(given)
    assert file_stamps([str(given)]) == first
    write(given / "a/3.dcm", "c")
    assert file_stamps([str(given)]) != first


def test_stamps_of_a_moved_project_are_the_same(tmp_path, monkeypatch):
    given, _ = list_with_a_header(tmp_path / "before")
    first = file_stamps([str(given)])
    (tmp_path / "before").rename(tmp_path / "after")
    assert file_stamps([str(tmp_path / "after" / given.name)]) == first


def test_values_that_lie_in_many_files_are_part_of_a_record(tmp_path):
    given, edited = header_with_a_pattern(tmp_path)
    assert companions(given) == [edited]
    given, _ = header_with_one_file(tmp_path)
    assert [c.name for c in companions(given)] == ["Ärger und mehr.raw"]


def test_stamps_of_plain_files_are_cheap(tmp_path):
    """A plan asks once for each file of a cohort; ten thousand must not be felt."""
    path = str(write(tmp_path / "ct.nii.gz", "x"))
    began = time.process_time()
    file_stamps([path] * 10_000)
    assert time.process_time() - began < 2  # 0.15 s of one core: so it holds beside other tests too


def test_the_workflow_imports_a_scan_anew_whose_labels_were_edited_in_place(tmp_path):
    mask = (ball_ct() > 0).astype("uint8")
    for name in ("a", "b"):
        save(tmp_path / f"{name}.nii.gz", ball_ct() + (name == "b") * (ball_ct() > 0).astype("int16"))
        save(tmp_path / name / "ball.nii.gz", mask)
    sheet = "subject\tscan\tmodality\timage\tlabels\tlabel_source\np\ta\tCT\ta.nii.gz\ta\texpert\n"
    write(tmp_path / "s.tsv", sheet + "q\tb\tCT\tb.nii.gz\tb\texpert\n")
    write(tmp_path / "s.structures.tsv", "structure\tid\nball\t1\n")
    write(tmp_path / "c.yaml", "cohorts: {c: {sheet: s.tsv}}\n")
    command = ("--configfile", "c.yaml", "--cores", "1", "cohorts")
    assert snakemake(*command, cwd=tmp_path).returncode == 0
    save(tmp_path / "a" / "ball.nii.gz", mask * (ball_ct(radius=6) > 0))
    planned = snakemake("-n", *command, cwd=tmp_path)
    text = planned.stdout + planned.stderr
    assert "scans/a/record.json" in text
    assert "output: results/cohorts/c/scans/b/record.json" not in text
