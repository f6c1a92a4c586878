"""Folds and splits without subjects, or with nothing to learn from, are named before anything runs."""

import pytest

from volforge.workflow.run import resolve

SEGMENTATION = """
    task: segmentation
    cohort: mine
    folds: {folds}
    arms:
      mean: {{baseline: mean_labels}}
"""
OUTSIDE = SEGMENTATION.replace("mean: {{baseline: mean_labels}}", "other: {{predictions: there}}")
PAINTED = """
    task: semantic_synthesis
    cohort: mine
    folds: {folds}
    metrics: {{distribution: false, segmenter_steps: 0}}
    arms:
      mean: {{baseline: mean_painting}}
"""
TRANSLATED = """
    task: translation
    cohort: mine
    folds: {folds}
    metrics: {{distribution: false}}
    arms:
      same: {{baseline: identity}}
"""
FULL = "{s}\t{s}\tCT\ti{s}.nii.gz\tl{s}.nii.gz\texpert\t{s}"
HEAD = "subject\tscan\tmodality\timage\tlabels\tlabel_source\tframe"


@pytest.fixture
def problems(tmp_path):
    """Problems of a study by a sheet's lines, as (line of the configuration, text)."""

    def found(lines, study=SEGMENTATION, folds="[0, 1]", cohort_folds=2, head=HEAD, more=""):
        (tmp_path / "there").mkdir(exist_ok=True)
        lines = [FULL.format(s=f"p{i}") for i in range(lines)] if isinstance(lines, int) else lines
        for line in lines:
            for cell in line.split("\t"):
                if cell.endswith(".nii.gz") and not cell.startswith("gone"):
                    (tmp_path / cell).touch()
        (tmp_path / "s.tsv").write_text("\n".join([head, *lines]) + "\n")
        (tmp_path / "s.structures.tsv").write_text("structure\tid\na\t1\n")
        text = f"cohorts:\n  mine: {{sheet: s.tsv, folds: {cohort_folds}{more}}}\nstudies:\n  organs:"
        (tmp_path / "c.yaml").write_text(text + study.format(folds=folds))
        loaded, _, _ = resolve([tmp_path / "c.yaml"])
        return [(p.line, p.message) for p in loaded.problems if p.level == "error"], loaded.problems

    return found


def test_five_folds_of_two_subjects_are_named_with_their_line(problems):
    """It was: no word from `validate`, models trained, `predict` failed."""
    found, whole = problems(2, folds="[0, 1, 2, 3, 4]", cohort_folds=5)
    assert [(line, text.split(":")[0].split(".")[-1]) for line, text in found] == [(7, "2"), (7, "3"), (7, "4")]
    assert all("no subject is in fold" in text for _, text in found)
    assert "2 subjects of cohort 'mine' fill the folds 0, 1" in whole[0].remedy
    assert "`folds` to 2" in whole[0].remedy


def test_as_many_subjects_as_folds_are_enough(problems):
    assert problems(5, folds="[0, 1, 2, 3, 4]", cohort_folds=5)[0] == []
    assert problems(3, folds="[]")[0] == []
    assert problems(2)[0] == []


def test_one_subject_leaves_nothing_to_learn_from(problems):
    found, whole = problems(1, folds="[0]")
    assert len(found) == 1
    assert "one subject: add others" in whole[0].remedy
    assert "fold 0 leaves no subject to learn from, and `mean` learns" in found[0][1]
    assert problems(1, study=OUTSIDE, folds="[0]")[0] == []  # what is only measured needs no other subject
    assert "no subject is in the split `test`" in problems(1, folds="[]")[0][0][1]


def test_more_folds_than_the_cohort_has_are_named_once(problems):
    found, _ = problems(2, folds="[0, 1, 2]")
    assert len(found) == 1
    assert "has no such fold" in found[0][1]


def test_a_fold_column_that_leaves_a_fold_empty(problems):
    head = f"{HEAD}\tfold"
    lines = [f"{FULL.format(s=f'p{i}')}\t0" for i in range(4)]
    texts = [text for _, text in problems(lines, head=head)[0]]
    assert any("fold 0 leaves no subject to learn from" in t for t in texts)
    assert any("no subject is in fold 1" in t for t in texts)
    assert len(texts) == 2


@pytest.mark.parametrize(("split", "said"), [("train", "no subject is in the split"), ("test", "no subject to learn")])
def test_a_split_column_that_leaves_one_side_empty(problems, split, said):
    lines = [f"{FULL.format(s=f'p{i}')}\t{split}" for i in range(4)]
    found, whole = problems(lines, head=f"{HEAD}\tsplit", folds="[]")
    assert len(found) == 1
    assert said in found[0][1]
    assert "`split`" in whole[-1].remedy


def test_labels_that_only_the_tested_subjects_have(problems):
    head = f"{HEAD}\tfold"
    lines = [f"p{i}\tp{i}\tCT\ti{i}.nii.gz\t\t\tp{i}\t0" for i in range(2)]
    lines += [f"{FULL.format(s='q')}\t1"]
    texts = [text for _, text in problems(lines, head=head)[0]]
    assert len(texts) == 2
    assert "no scan of fold 0 has labels" in texts[0]
    assert "no training scan has labels where fold 1 is tested, and `mean` learns" in texts[1]
    made = ", labels_command: {command: [x, '{image}', '{labels}']}"
    assert problems(lines, head=head, more=made)[0] == []


def test_files_that_are_missing_do_not_count_where_their_scans_are_excluded(problems):
    head = f"{HEAD}\tfold"
    lines = [f"p{i}\tp{i}\tCT\tgone{i}.nii.gz\tl{i}.nii.gz\texpert\tp{i}\t0" for i in range(2)]
    lines += [f"{FULL.format(s='q')}\t1"]
    texts = [text for _, text in problems(lines, head=head, more=", on_bad_scan: exclude")[0]]
    assert any("no subject is in fold 0" in t for t in texts)


def test_image_tasks_need_scans_of_their_modality_on_both_sides(problems):
    head = f"{HEAD}\tfold"
    one = "p\tp\tCT\ti.nii.gz\tl.nii.gz\texpert\tp\t0"
    mr = "q\tq\tMR\tj.nii.gz\tm.nii.gz\texpert\tq\t1"
    texts = [text for _, text in problems([one, mr], study=PAINTED, head=head)[0]]
    assert any("no training scan of the modality CT has image and labels where fold 0 is tested" in t for t in texts)
    assert any("no scan of fold 1 has labels and image" in t for t in texts)
    pair = [f"r\tr{m}\t{m}\tr{m}.nii.gz\t\t\tf\t0" for m in ("CT", "MR")]
    apart = [f"s\ts{m}\t{m}\ts{m}.nii.gz\t\t\tf{m}\t1" for m in ("CT", "MR")]
    texts = [text for _, text in problems([*pair, *apart], study=TRANSLATED, head=head)[0]]
    assert len(texts) == 1
    assert "no scan of fold 1 has a source and a target scan of one subject" in texts[0]
