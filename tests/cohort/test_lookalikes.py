"""Names that cannot be told apart by eye: one patient as two subjects would leak between train and test."""

import pytest

from tests.cohort.test_sheet import messages, row
from volforge.by_hand.measure import read_structures_option
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import read_sheet
from volforge.errors import VolforgeError
from volforge.tables.structures import read_structures
from volforge.volume.label_list import read_label_list
from volforge.workflow.load import load_configuration


@pytest.fixture
def files(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ({"subject": "p\u200b1"}, "column 'subject': holds U+200B ZERO WIDTH SPACE"),
        ({"subject": "p1\u200d"}, "column 'subject': holds U+200D ZERO WIDTH JOINER"),
        ({"subject": "p\u00ad1"}, "column 'subject': holds U+00AD SOFT HYPHEN"),
        ({"subject": "\u2066p1\u2069"}, "column 'subject': holds U+2066 LEFT-TO-RIGHT ISOLATE"),
        ({"subject": "p\u20281"}, "column 'subject': holds U+2028 LINE SEPARATOR"),
        ({"subject": "p\x851"}, "column 'subject': holds U+0085 NEXT LINE"),
        ({"subject": '"p\n1"'}, "column 'subject': holds U+000A LINE FEED"),
        ({"subject": "p\u31641"}, "column 'subject': holds U+3164 HANGUL FILLER"),
        ({"subject": "p1\ufe0f"}, "column 'subject': holds U+FE0F VARIATION SELECTOR-16"),
        ({"scan": "s1\ufeff"}, "column 'scan': holds U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ({"frame": "1\u200b"}, "column 'frame': holds U+200B"),
        ({"split": "test\u200b"}, "column 'split': holds U+200B"),
        ({"fold": "1\u200b"}, "column 'fold': holds U+200B"),
        ({"modality": "CT\u200b"}, "column 'modality': holds U+200B"),
        ({"contrast": "T1\u2060"}, "column 'contrast': holds U+2060 WORD JOINER"),
        ({"split\u200b": "test"}, ":1 column 'split\u200b': holds U+200B"),
    ],
)
def test_a_character_that_nobody_sees_is_named(files, write_sheet, cells, place):
    found = messages(write_sheet([row(**cells)]))
    assert sum(place in m and "remedy: delete the character" in m for m in found) == 1, found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Doe John", "Doe  John"),
        ("Doe John", "Doe\u00a0John"),
        ("Doe John", "Doe \u2009John"),
        ("p1", "\uff50\uff11"),
        ("Andr\u00e9", "Andre\u0301"),
        ("\ufb01n", "fin"),
        ("p-1", "p\u20111"),
        ("p-1", "p\u22121"),
        ("O'Neil", "O\u2019Neil"),
        ("p1", "\u04401"),
        ("A1", "\u03911"),
    ],
)
@pytest.mark.parametrize("column", ["subject", "frame", "contrast"])
def test_two_names_that_look_alike_are_an_error(files, write_sheet, one, other, column):
    rows = [row(**{column: one}), row(**{column: other}, scan="s2", image="b.nii.gz")]
    if column != "subject":
        rows[1]["subject"] = "p2"
    (problem,) = read_sheet(write_sheet(rows)).problems
    assert (problem.level, problem.line, problem.column) == ("error", 3, column)
    assert f"of line 2 and is another {column}: {other!a}" in problem.message


def test_a_no_break_space_at_the_end_is_stray(files, write_sheet):
    (found,) = messages(write_sheet([row(subject="p1\u00a0")]))
    assert "column 'subject': stray white space at the ends of a cell (value: 'p1\\xa0')" in found


def test_lists_of_structures_name_such_characters_too(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "l.tsv").write_text("structure\tfile\nliver\u200b\ta.nii.gz\n", encoding="utf-8")
    with pytest.raises(VolforgeError, match=r"line 2: holds U\+200B ZERO WIDTH SPACE"):
        read_label_list(tmp_path / "l.tsv")
    (tmp_path / "s.tsv").write_text("structure\tid\nliver\u200b\t1\n", encoding="utf-8")
    with pytest.raises(VolforgeError, match=r"line 2: column 'structure': holds U\+200B"):
        read_structures_option(str(tmp_path / "s.tsv"))


def test_blanks_that_no_keyboard_makes_are_fine_where_they_stand_alone(files, write_sheet):
    assert messages(write_sheet([row(subject="Doe\u00a0John"), row(subject="Roe", scan="s2", image="b.nii.gz")])) == []


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e"])
def test_marks_from_word_processors_end_no_line(files, tmp_path, mark):
    path = tmp_path / "sheet.tsv"
    head, line = "subject\tscan\tmodality\timage\tremark", "p1\ts1\tCT\ta.nii.gz"
    path.write_text(f"# one{mark}two\n{head}\n{line}\tso{mark}what\n", encoding="utf-8")
    sheet = read_sheet(path)
    assert sheet.problems == []
    assert sheet.comments == [f"one{mark}two"]
    assert (sheet.rows[0].line, sheet.rows[0].free["remark"]) == (3, f"so{mark}what")


def test_names_of_structures_and_groups_are_looked_at_too(tmp_path):
    path = tmp_path / "s.tsv"
    text = "structure\tid\tgroup\nliver\u200b\t1\tbig organs\nspleen\t2\tbig\u00a0organs\n"
    path.write_text(text, encoding="utf-8")
    found = [str(p) for p in read_structures(path)[1]]
    assert len(found) == 2
    assert "s.tsv:2 column 'structure': holds U+200B ZERO WIDTH SPACE" in found[0]
    assert "s.tsv:3 column 'group': looks like 'big organs' of line 2" in found[1]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("p\u200b1", "p2"), "subject 'p\\u200b1' holds U+200B ZERO WIDTH SPACE"),
        (("Doe John", "Doe  John"), "subject 'Doe John' looks like 'Doe  John' of 'Doe  John/ct.nii.gz'"),
        (("Andr\u00e9", "Andre\u0301"), "looks like 'Andre\\u0301'"),
        (("p1", "\uff50\uff11"), "looks like 'p1' of 'p1/ct.nii.gz'"),
        (("p1", "M\udcfcller"), "not UTF-8"),
    ],
)
def test_discover_names_the_folders_of_such_names(tmp_path, names, words):
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "ct.nii.gz").write_bytes(b"x")
    options = Options(modality="CT", patterns={"image": "{subject}/ct.nii.gz"})
    with pytest.raises(VolforgeError) as error:
        discover(tmp_path / "data", "pattern", tmp_path / "s.tsv", options)
    assert words in str(error.value)
    assert "remedy: rename" in str(error.value)
    assert not (tmp_path / "s.tsv").exists()


@pytest.mark.parametrize(
    ("stem", "name"),
    [("no", "c_no"), ("1", "c_1"), ("null", "c_null"), ("2024-01-01", "c_2024_01_01"), ("My.Set-2", "my_set_2"), ("x" * 60, "x" * 40)],
)  # fmt: skip
def test_the_entry_that_discover_prints_can_be_used(tmp_path, stem, name):
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1/ct.nii.gz").write_bytes(b"x")
    options = Options(modality="CT", patterns={"image": "{subject}/ct.nii.gz"})
    written = discover(tmp_path, "pattern", tmp_path / f"{stem}.tsv", options)
    (tmp_path / "c.yaml").write_text(written.entry, encoding="utf-8")
    loaded = load_configuration([tmp_path / "c.yaml"])
    assert loaded.problems == []
    assert list(loaded.values["cohorts"]) == [name]
