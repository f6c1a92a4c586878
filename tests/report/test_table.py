"""The table of a study: who is averaged with whom, what is tested, and files that keep their bytes."""

import json
import math
import shutil
import subprocess

import pytest

from volforge.metrics.measure import Measure, nothing
from volforge.report.aggregate import measures_frame, subject_values
from volforge.report.formats import table_json, table_latex, table_markdown, table_tsv
from volforge.report.study_files import write_tables
from volforge.report.table import study_table
from volforge.study.measures import Origin, row, write_measures
from volforge.tasks.registry import task

ARMS = {
    "volforge": {"kind": "model", "published_as": "volforge", "note": ""},
    "base": {"kind": "baseline", "published_as": "base", "note": "nothing is learnt"},
}


def settings(arms=None, published=None, name="segmentation"):
    own = task(name)
    return {
        "study": "s_1", "task": name, "cohort": "c", "arms": arms or ARMS, "published": published, "parts": [],
        "shown": own.shown, "judged_in": own.judged_in, "picture": own.picture, "note": own.note,
        "compares_sides": own.compares_sides,
    }  # fmt: skip


def line(arm, subject, value, *, measure="dice", structure="bone", source="expert", **more):
    origin = {"fold": 0, "seed": 0, "scan": f"{subject}-1", "side": "", "sample": 0} | more
    measured = (
        Measure(measure, value, structure) if value is not None else nothing(measure, "empty_prediction", structure)
    )
    return row(Origin("s_1", arm, cohort="c", subject=subject, label_source=source, **origin), measured)


def table_of(tmp_path, lines, **more):
    write_measures(tmp_path / "measures.tsv", lines)
    return study_table(tmp_path / "measures.tsv", settings(**more))


def test_sides_then_samples_then_scans_then_seeds_are_averaged(tmp_path):
    """Two sides of one sample weigh as much as the single side of another: the order is part of the definition."""
    lines = [
        line("base", "p", 0.2, side="left", sample=0),
        line("base", "p", 0.4, side="right", sample=0),
        line("base", "p", 0.9, side="left", sample=1),
        line("base", "p", 0.0, side="left", seed=1),
        line("base", "p", 1.0, side="left", seed=1, scan="p-2"),
    ]
    write_measures(tmp_path / "m.tsv", lines)
    found = subject_values(measures_frame(tmp_path / "m.tsv"))
    assert len(found) == 1
    of_seed_0, of_seed_1 = (0.3 + 0.9) / 2, (0.0 + 1.0) / 2
    assert found["value"].item() == pytest.approx((of_seed_0 + of_seed_1) / 2)


def test_n_counts_subjects_and_failures_stand_beside(tmp_path):
    lines = [line("base", f"p{i}", 0.5 + i / 10, side=s) for i in range(3) for s in ("left", "right")]
    lines.append(line("base", "p3", None))
    cell = table_of(tmp_path, lines).rows[0].cells["base"]
    assert (cell.summary.n, cell.failures) == (3, 1)
    assert cell.summary.mean == pytest.approx(0.6)
    assert cell.summary.sd == pytest.approx(0.1)


def test_label_sources_are_never_averaged(tmp_path):
    lines = [line("base", "p", 0.2), line("base", "q", 0.8, source="derived")]
    rows = table_of(tmp_path, lines).rows
    assert [(r.label_source, r.cells["base"].summary.mean) for r in rows] == [("expert", 0.2), ("derived", 0.8)]


def test_a_case_that_fails_for_all_seeds_and_samples_has_failed_once(tmp_path):
    """A baseline has one seed: an arm of three that fails on the same scan does not fail more often."""
    lines = [line("base", f"p{i}", 0.4 if i else None) for i in range(8)]
    lines += [
        line("volforge", f"p{i}", 0.9 if i else None, seed=s, sample=k)
        for i in range(8) for s in range(3) for k in range(2)
    ]  # fmt: skip
    table = table_of(tmp_path, lines)
    cells = table.rows[0].cells
    assert (cells["base"].failures, cells["volforge"].failures) == (1, 1)
    assert cells["volforge"].is_best
    assert cells["volforge"].loses_to == ""
    assert any("have no value, and are counted" in n for n in table.notes)


def test_tests_are_called_normal_where_they_are(tmp_path):
    lines = [line(a, f"p{i:02d}", v + i % 7 / 10) for a, v in (("base", 0.1), ("volforge", 0.2)) for i in range(60)]
    (note,) = [n for n in table_of(tmp_path, lines).notes if n.startswith("Tests")]
    assert "signed-rank by subject, normal, Holm-corrected" in note
    assert "smallest p" not in note


def test_an_arm_with_more_failures_is_not_the_best(tmp_path):
    lines = [line("volforge", f"p{i}", 0.99) for i in range(3)] + [line("volforge", "p3", None)]
    lines += [line("base", f"p{i}", 0.5) for i in range(4)]
    cells = table_of(tmp_path, lines).rows[0].cells
    assert not cells["volforge"].is_best
    assert cells["base"].is_best


@pytest.mark.parametrize(
    ("measure", "ours", "theirs"), [("dice", 0.5, 0.6), ("hd_mm", 4.0, 3.0), ("volume_error_abs_percent", 9, 5)]
)
def test_an_arm_that_does_not_beat_the_baseline_is_marked(tmp_path, measure, ours, theirs):
    lines = [line(a, f"p{i}", v, measure=measure) for i in range(2) for a, v in (("volforge", ours), ("base", theirs))]
    table = table_of(tmp_path, lines)
    assert table.rows[0].cells["volforge"].loses_to == "base"
    assert "†" in table_markdown(table)
    assert table.rows[0].best == "base"


def test_real_images_show_what_can_be_reached_and_compete_with_none(tmp_path):
    arms = ARMS | {"real": {"kind": "ceiling", "published_as": "real", "note": ""}}
    lines = [
        line(arm, f"p{i}", value + i / 100)
        for i in range(6)
        for arm, value in (("volforge", 0.8), ("base", 0.7), ("real", 0.9))
    ]
    table = table_of(tmp_path, lines, arms=arms)
    (found,) = table.rows
    assert found.best == "volforge"
    assert not found.cells["volforge"].loses_to
    assert found.cells["real"].summary.mean == pytest.approx(0.925)
    assert {(t.a, t.b) for t in found.tests} == {("volforge", "base")}
    assert any("never bold" in n for n in table.notes)


def test_no_test_under_six_subjects_and_the_reason_is_printed(tmp_path):
    lines = [line(a, f"p{i}", v + i / 100) for i in range(5) for a, v in (("volforge", 0.9), ("base", 0.5))]
    table = table_of(tmp_path, lines)
    assert table.rows[0].tests[0].p is None
    assert any("No test was made: two arms have 5 subjects in common" in n for n in table.notes)


def test_six_subjects_reach_the_smallest_p_and_no_less(tmp_path):
    lines = [line(a, f"p{i}", v + i / 100) for i in range(6) for a, v in (("volforge", 0.9), ("base", 0.5 - i / 50))]
    table = table_of(tmp_path, lines)
    test = table.rows[0].tests[0]
    assert test.p == pytest.approx(2 / 2**6) == test.smallest_p
    assert any("0.031" in n for n in table.notes)


def test_tests_pair_by_subject(tmp_path):
    lines = [line("volforge", f"p{i}", 0.9 + i / 1000) for i in range(9)]
    lines += [line("base", f"p{i}", 0.5) for i in range(2, 12)]
    assert table_of(tmp_path, lines).rows[0].tests[0].pairs == 7


def test_measures_of_whole_sets_show_their_images_and_a_warning(tmp_path):
    made = [row(Origin("s_1", "base", f, 0, "c"), Measure("fid", 10.0 + f, "slices", n=300 + f)) for f in range(2)]
    table = table_of(tmp_path, made)
    cell = table.rows[0].cells["base"]
    assert (cell.images, cell.summary.mean) == (300, 10.5)
    assert any("under 2048" in n for n in table.notes)


PUBLISHED = """# a note of the file
study	arm	structure	measure	value	spread	spread_kind	n	unit	source	caveat	cohort	table
segmentation	net_a	bone	dice	0.95	0.02	sd	50	1	Doe 2021, Table 1	voxel units	their CT	Table 1
segmentation	net_b	bone	dice	0.90				1	Doe 2021, Table 1		their CT	Table 1
implant	net_c	implant	dice	0.80				1	Roe 2020		other	T
"""


def published(tmp_path, **more):
    (tmp_path / "published.tsv").write_text(PUBLISHED)
    return {"table": str(tmp_path / "published.tsv"), "study": "", "same_data": False, "cohort": ""} | more


def test_published_numbers_of_other_data_stand_in_a_block_of_their_own(tmp_path):
    lines = [line("volforge", "p", 0.5), line("base", "p", 0.4)]
    table = table_of(tmp_path, lines, published=published(tmp_path))
    assert [p.arm for p in table.published] == ["net_a", "net_b"]
    assert all(c.published is None for c in table.rows[0].cells.values())
    text = table_markdown(table)
    assert "## Published numbers: other data, other size" in text
    assert "Doe 2021, Table 1 Caveat: voxel units" in text
    assert "**0.95" not in text


def test_published_number_of_the_same_data_stands_beside_ours(tmp_path):
    arms = {"volforge": {"kind": "model", "published_as": "net_a", "note": ""}, "base": ARMS["base"]}
    lines = [line("volforge", "p", 0.5), line("base", "p", 0.4)]
    table = table_of(tmp_path, lines, arms=arms, published=published(tmp_path, same_data=True))
    beside = table.rows[0].cells["volforge"].published
    assert beside is not None
    assert (beside.value, beside.spread, beside.source) == (0.95, 0.02, "Doe 2021, Table 1")
    assert table.rows[0].best == "volforge", "bold never crosses to the paper's number"
    assert "volforge: 0.950 ± 0.020" in table_markdown(table)
    assert "0.95" in table_tsv(table)
    assert [p.arm for p in table.same_data] == ["net_b"]
    assert table.published == []
    text = table_markdown(table)
    assert "## Published numbers: the same data" in text
    assert "Doe 2021, Table 1 | voxel units" in text


def test_files_keep_their_bytes_and_name_what_they_were_made_of(tmp_path):
    lines = [line(a, f"p{i}", 0.5 + i / 31) for i in range(7) for a in ARMS]
    write_measures(tmp_path / "measures.tsv", lines)
    for folder in ("one", "two"):
        write_tables(tmp_path / "measures.tsv", settings(published=published(tmp_path)), tmp_path / folder)
    names = ("table.tsv", "table.md", "table.tex", "table.json", "cost.tsv")
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    content = json.loads((tmp_path / "one/table.json").read_text())
    assert set(content["made_from"]) == {"measures.tsv", "published.tsv", "settings"}
    assert all(len(v) == 64 for v in content["made_from"].values())
    assert content["rows"][0]["arms"]["base"]["n"] == 7


def test_infinite_and_missing_values_are_written_as_such(tmp_path):
    lines = [line("base", f"p{i}", math.inf, measure="psnr_db") for i in range(2)]
    table = table_of(tmp_path, lines)
    assert table.rows[0].cells["base"].summary.mean == math.inf
    assert json.dumps(table_json(table), allow_nan=False)
    assert "∞" in table_markdown(table)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-recommended)")
def test_latex_compiles_whatever_names_hold(tmp_path):
    nasty = "[12] a_b μ≈−ΔЖ & 50% #1 {x} $y$ ~^ \\z é → ≥ 1"
    lines = [line("volforge", "p", 0.5, structure=nasty), line("base", "p", None, structure=nasty)]
    (tmp_path / "published.tsv").write_text(PUBLISHED.replace("their CT", nasty))
    table = table_of(tmp_path, lines, published=published(tmp_path))
    (tmp_path / "published.tsv").write_text(PUBLISHED.replace("their CT", nasty))
    table = study_table(tmp_path / "measures.tsv", settings(published=published(tmp_path) | {"study": "segmentation"}))
    document = "\\documentclass{article}\\usepackage{booktabs,longtable}\\begin{document}\n%s\\end{document}\n"
    (tmp_path / "t.tex").write_text(document % table_latex(table))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 5000


def test_left_and_right_of_a_cohort_are_compared(tmp_path):
    """Scans of a subject are averaged first; a subject with one side alone does not count."""
    joint = {"measure": "joint_space_mm3", "structure": "joint_space"}
    lines = []
    for k in range(8):
        lines += [line("volforge", f"p{k}", 1000.0 + 10 * k, side="right", **joint)]
        lines += [line("volforge", f"p{k}", 1100.0 + 11 * k, side="left", **joint)]
    lines += [line("volforge", "p0", 1200.0, side="left", scan="p0-2", **joint)]
    lines += [line("volforge", "alone", 900.0, side="left", **joint)]
    write_measures(tmp_path / "measures.tsv", lines)
    made = study_table(tmp_path / "measures.tsv", settings(name="negative_volume"))
    (found,) = made.sides
    assert (found.found.n, found.arm, found.measure) == (8, "volforge", "joint_space_mm3")
    differences = [150.0, *(100.0 + k for k in range(1, 8))]
    assert found.found.bias == pytest.approx(sum(differences) / 8)
    assert found.found.p == pytest.approx(2 / 2**8)
    assert "## Left against right" in table_markdown(made)
    assert table_json(made)["sides"][0]["bias"] == pytest.approx(sum(differences) / 8)
    assert table_of(tmp_path, lines).sides == []  # of other tasks sides are one structure
