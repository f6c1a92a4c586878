import pytest

from tests.conftest import volforge
from volforge.cohort.sheet import read_sheet


def row(**cells: str) -> dict[str, str]:
    return {"subject": "p1", "scan": "s1", "modality": "CT", "image": "a.nii.gz", **cells}


@pytest.fixture
def files(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        (tmp_path / name).write_bytes(b"x")


def messages(path, **kwargs):
    return [str(p) for p in read_sheet(path, **kwargs).problems]


def test_a_good_sheet_has_no_problem(files, write_sheet):
    assert messages(write_sheet([row(), row(scan="s2", image="b.nii.gz", unit="hu+1000")])) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(image="missing.nii.gz")], ":2 column 'image': file not found"),
        ([row(), row(image="b.nii.gz")], ":3 column 'scan': stands already in line 2"),
        ([row(), row(scan="S1", image="b.nii.gz")], "names must differ in more than case"),
        (
            [row(split="train"), row(scan="s2", image="b.nii.gz", split="test")],
            "stands in several: test, train",
        ),
        ([row(fold="0"), row(scan="s2", image="b.nii.gz", fold="1")], "stands in several: 0, 1"),
        ([row(split="train"), row(scan="s2", image="b.nii.gz")], "stands in several: (empty), train"),
        ([row(), row(subject="p2", scan="s2")], "under another subject, which would leak"),
        ([row(modality="PET")], "unknown modality"),
        ([row(modality="ct")], "did you mean 'CT'?"),
        ([row(unit="HU")], "did you mean 'hu'?"),
        ([row(unit="hu+1,024")], "use one of: hu, hu+<number>, arbitrary"),
        ([row(unit="hu+0")], "unknown unit"),
        ([row(modality="MR", unit="hu+1000")], "MR has no Hounsfield units"),
        ([row(modality="MR", unit="hu")], "MR has no Hounsfield units"),
        ([row(subject=" p1")], "stray white space"),
        ([row(image="a.nii.gz ")], "stray white space"),
        ([row(scan="a/b")], "not a scan name"),
        ([row(scan="../x")], "not a scan name"),
        ([row(scan="x" * 65)], "not a scan name"),
        ([row(scan="\u00e9")], "not a scan name"),
        ([row(subject="")], "a scan without subject"),
        ([row(fold="-1")], "not a fold"),
        ([row(image="")], "names no file"),
        ([row(labels="b.nii.gz")], "labels without their source"),
        ([row(label_source="expert")], "a source without labels"),
        ([row(labels="b.nii.gz", label_source="me")], "unknown label_source"),
        ([row(lables="b.nii.gz")], "looks like column 'labels' misspelt"),
    ],
)
def test_problem_is_found_with_place_and_remedy(files, write_sheet, rows, expected):
    found = messages(write_sheet(rows))
    assert any(expected in m for m in found), found
    assert all("remedy:" in m for m in found)


def test_required_column_is_named_with_the_nearest(files, write_sheet):
    found = messages(write_sheet([{"subject": "p", "scans": "s", "modality": "CT", "image": "a.nii.gz"}]))
    assert any("required column is missing" in m and "rename 'scans'?" in m for m in found)


def test_byte_order_mark_windows_line_ends_and_comments_are_accepted(files, tmp_path):
    path = tmp_path / "sheet.tsv"
    path.write_bytes(b"\xef\xbb\xbf# licence: CC0\r\nsubject\tscan\tmodality\timage\r\np1\ts1\tCT\ta.nii.gz\r\n")
    sheet = read_sheet(path)
    assert sheet.problems == []
    assert sheet.comments == ["licence: CC0"]
    assert sheet.rows[0].line == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("subject,scan,modality,image\np1,s1,CT,a.nii.gz\n", "separated by commas, tabs are expected"),
        ("subject;scan;modality;image\np1;s1;CT;a.nii.gz\n", "separated by semicolons, tabs are expected"),
        ("", "the table is empty"),
        ("subject\tscan\tmodality\timage\n", "the table has no row"),
        ("subject\tscan\tmodality\timage\np1\ts1\tCT\ta.nii.gz\tmore\n", "5 cells in a row, 4 columns"),
        ("subject\tscan\tscan\n", "the column stands twice"),
        ('subject\tscan\tmodality\timage\np1\t"s1\tCT\ta.nii.gz\n', "cannot be split into cells"),
        ("subject\tscan\tmodality\timage\np1\ts1\tCT\t\0\n", "not a text table"),
    ],
)
def test_form_of_the_file_is_checked(files, tmp_path, content, expected):
    path = tmp_path / "sheet.tsv"
    path.write_text(content)
    assert any(expected in m for m in messages(path)), messages(path)


def test_other_encoding_is_named_with_its_line(tmp_path):
    path = tmp_path / "sheet.tsv"
    path.write_bytes("subject\tscan\tmodality\nM\u00fcller\ts1\tCT\n".encode("latin-1"))
    assert "sheet.tsv:2: not UTF-8" in messages(path)[0]


def test_csv_is_read_by_its_suffix(files, tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text('subject,scan,modality,image\n"Doe, J.",s1,CT,a.nii.gz\n')
    sheet = read_sheet(path)
    assert sheet.problems == []
    assert sheet.rows[0].subject == "Doe, J."


def test_paths_start_from_sheet_or_root_or_are_absolute(tmp_path, write_sheet):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.nii.gz").write_bytes(b"x")
    assert messages(write_sheet([row(image="data/a.nii.gz")])) == []
    assert messages(write_sheet([row(image="a.nii.gz")]), root=tmp_path / "data") == []
    assert messages(write_sheet([row(image=str(tmp_path / "data/a.nii.gz"))]), root=tmp_path) == []


def test_missing_file_is_a_warning_where_bad_scans_are_excluded(write_sheet):
    sheet = read_sheet(write_sheet([row(image="no.nii.gz")]), missing_is_error=False)
    assert [p.level for p in sheet.problems] == ["warning"]
    assert sheet.rows[0].missing == ("image",)


def test_missing_file_names_the_closest_one(files, write_sheet):
    assert any("did you mean 'a.nii.gz'?" in m for m in messages(write_sheet([row(image="aa.nii.gz")])))


def test_subjects_that_differ_in_case_only_are_a_warning(files, write_sheet):
    sheet = read_sheet(write_sheet([row(), row(subject="P1", scan="s2", image="b.nii.gz")]))
    assert [p.level for p in sheet.problems] == ["warning"]


def test_non_ascii_subjects_and_odd_paths_are_free_text(tmp_path, write_sheet):
    name = "a b; $(touch owned) 'q' \u00fc.nii.gz"
    (tmp_path / name).write_bytes(b"x")
    sheet = read_sheet(write_sheet([row(subject="M\u00fcller", image=name)]))
    assert sheet.problems == []


def test_check_command_lists_everything_and_fails(tmp_path, write_sheet):
    done = volforge("cohort", "check", write_sheet([row(modality="X", image="no"), row(modality="Y", image="no")]))
    assert done.returncode == 1
    for expected in (
        "'X'",
        "'Y'",
        "file not found",
        "stands already in line 2",
        "errors found; nothing was run",
    ):
        assert expected in done.stderr
    assert "Traceback" not in done.stderr


def two_raters(**second: str) -> list[dict[str, str]]:
    cells = {"labels": "b.nii.gz", "label_source": "expert"}
    return [row(**cells), row(scan="s2", **(cells | {"labels": "c.nii.gz"} | second))]


def test_one_image_with_labels_of_two_raters_is_two_scans_of_a_subject(files, write_sheet):
    assert messages(write_sheet(two_raters())) == []
    for second, words in (
        ({"subject": "p2"}, "under another subject, which would leak"),
        ({"labels": "b.nii.gz"}, "the same file stands in line 2"),
        ({"labels": "", "label_source": ""}, "the same file stands in line 2"),
        ({"split": "test"}, "that would leak"),
    ):
        assert any(words in m for m in messages(write_sheet(two_raters(**second)))), second


def test_places_that_cannot_be_looked_at_are_words(files, write_sheet):
    for image in ("x" * 300, "a.nii.gz/b.nii.gz"):
        assert "file not found" in messages(write_sheet([row(image=image)]))[0]


def test_no_file_serves_two_subjects_in_any_column_or_by_any_name(files, write_sheet, tmp_path):
    (tmp_path / "link.nii.gz").symlink_to("a.nii.gz")
    other = {"subject": "p2", "scan": "s2"}
    labelled = {"labels": "c.nii.gz", "label_source": "expert"}
    for rows in (
        [row(), row(**other, image="link.nii.gz")],
        [row(**labelled), row(**other, image="b.nii.gz", **labelled)],
        [row(**labelled), row(**other, image="c.nii.gz")],
        [row(image="a.nii.gz#0"), row(**other, image="link.nii.gz#0")],
    ):
        found = messages(write_sheet(rows))
        assert any("under another subject, which would leak" in m for m in found), (rows, found)
    for rows in (
        [row(image="a.nii.gz#0"), row(**other, image="a.nii.gz#1")],
        [row(**labelled), row(scan="s2", image="b.nii.gz", **labelled)],
    ):
        assert messages(write_sheet(rows)) == []
