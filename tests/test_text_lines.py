"""Where a line of a text that a user wrote ends."""

import json

from tests.conftest import ROOT
from volforge.report.published import read_published
from volforge.text_lines import lines_of
from volforge.volume.companions import companions
from volforge.volume.dicom.series import list_files
from volforge.workflow.status import read_journal


def test_lines_end_as_in_an_editor():
    assert lines_of("a\nb\r\nc\rd") == ["a", "b", "c", "d"]
    assert lines_of("a\n\n") == ["a", ""]
    assert lines_of("") == []
    assert lines_of("a\r\nb", keep_ends=True) == ["a\r\n", "b"]


def test_no_other_mark_ends_one():
    text = "a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029b"
    assert lines_of(text) == [text]


def test_readers_of_users_files_keep_to_it(tmp_path):
    """Lists of DICOM files, tables of published numbers, headers that name a file of voxels, journals."""
    (tmp_path / "a.dcm").touch()
    (tmp_path / "list.txt").write_text("# scan of\u2028Monday\na.dcm\n", encoding="utf-8")
    assert list_files(tmp_path / "list.txt") == [tmp_path / "a.dcm"]

    first = next((ROOT / "config/papers/published").glob("*.tsv")).read_text(encoding="utf-8")
    (tmp_path / "p.tsv").write_text("# taken\u2028over\n" + first, encoding="utf-8")
    assert read_published(tmp_path / "p.tsv").notes[0] == "taken\u2028over"

    (tmp_path / "\u00c5.raw").touch()  # its second byte is 0x85
    (tmp_path / "m.mhd").write_text("NDims = 3\nElementDataFile = \u00c5.raw\n", encoding="utf-8")
    assert companions(tmp_path / "m.mhd") == [tmp_path / "\u00c5.raw"]

    events = [
        {"event": "run", "time": 0, "pid": 1, "host": "h", "configfiles": []},
        {"event": "start", "time": 1, "id": 1, "rule": "r", "wildcards": {"scan": "s"}, "log": []},
        {"event": "fail", "time": 2, "id": 1, "message": "a\u2028b"},
    ]
    text = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events)
    (tmp_path / "journal.jsonl").write_text(text, encoding="utf-8")
    journal = read_journal(tmp_path / "journal.jsonl")
    assert journal is not None
    assert [job.message for job in journal.jobs] == ["a\u2028b"]
