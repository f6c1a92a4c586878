"""Which scans a model of translation sees: never both sides of a subject, unless pairs are asked for."""

from dataclasses import replace

import pytest

from tests.tasks.translation.made import CT, MR, settings
from volforge.errors import VolforgeError
from volforge.study.cases import Cohort
from volforge.tasks.translation.domains import domains, refuse_pairs
from volforge.tasks.translation.pairs import companions_of


@pytest.fixture(scope="module")
def rows(heads):
    return Cohort(heads).rows


def subjects(rows):
    return {r["subject"] for r in rows}


def test_fewer_targets_are_among_more_of_one_seed_and_sources_stay(rows):
    every = domains(settings(method="cycle"), rows, 0)
    by_count = [domains(settings(method="cycle", targets=n), rows, 0, seed=5) for n in (1, 2, 3)]
    assert [len(subjects(d.targets)) for d in by_count] == [1, 2, 3]
    assert subjects(by_count[0].targets) < subjects(by_count[1].targets) < subjects(by_count[2].targets)
    assert all(d.sources == every.sources for d in by_count)
    others = {tuple(sorted(subjects(domains(settings(targets=2), rows, 0, seed=s).targets))) for s in range(12)}
    assert len(others) > 1  # another seed learns from others
    with pytest.raises(VolforgeError, match="targets of 40 subjects are asked for"):
        domains(settings(targets=40), rows, 0)


def test_no_subject_gives_both_a_source_and_a_target(rows):
    found = domains(settings(method="cycle"), rows, 0)
    sources, targets = subjects(found.sources), subjects(found.targets)
    assert not sources & targets
    assert {"p0", "p1", "p2"} < sources
    assert {"p3", "p4", "p5"} < targets
    assert sources | targets == {f"p{i}" for i in range(12)} - {"p6", "p7", "p8"}
    assert len(sources & {"p9", "p10", "p11"}) in (1, 2)  # dealt in turn, with those that validate
    chooses = domains(settings(method="cycle", select="pairs"), rows, 0)
    assert (chooses.sources, chooses.targets) == (found.sources, found.targets)  # whoever is held back
    assert found.pairs == []
    assert {r["modality"] for r in found.sources} == {"MR"}
    assert found == domains(settings(method="cycle"), list(reversed(rows))[::-1], 0)


def test_tested_and_validated_subjects_are_in_no_domain(rows):
    for method in ("cycle", "painted", "paired"):
        found = domains(settings(method=method), rows, 0)
        seen = subjects(found.sources) | subjects(found.targets) | {a["subject"] for a, _ in found.pairs}
        assert not seen & {"p6", "p7", "p8"}
        assert found.judged == []  # nothing looks at them, as the last weights win
        looked = domains(settings(method=method, select="pairs"), rows, 0)
        assert [a["subject"] for a, _ in looked.judged] == ["p6"]


def test_the_method_paired_sees_registered_pairs_and_nothing_else(rows):
    found = domains(settings(method="paired"), rows, 0)
    assert [(a["scan"], b["scan"]) for a, b in found.pairs] == [(f"s{i}-mr", f"s{i}-ct") for i in (9, 10, 11)]
    assert (found.sources, found.targets) == ([], [])


def test_some_pairs_are_shown_and_give_nothing_else(rows):
    found = domains(settings(pairs=2), rows, 0)
    shown = {a["subject"] for a, _ in found.pairs}
    assert len(shown) == 2
    assert not shown & (subjects(found.sources) | subjects(found.targets))
    with pytest.raises(VolforgeError, match="4 subjects with pairs are asked for, 3 have one"):
        domains(settings(pairs=4), rows, 0)


def test_a_training_without_pairs_that_would_see_one_is_refused_by_name(rows):
    found = domains(settings(method="cycle"), rows, 0)
    target = next(r for r in rows if r["scan"] == "s9-ct")
    source = next(r for r in rows if r["scan"] == "s9-mr")
    with pytest.raises(VolforgeError, match="source and target of one subject: p9"):
        refuse_pairs(replace(found, sources=[source], targets=[target]), "here")
    other = {**target, "subject": "someone"}  # frames are a subject's own: another one may have the same word
    refuse_pairs(replace(found, sources=[source], targets=[other]), "here")


def test_a_part_that_is_empty_is_named(rows):
    only_ct = [r for r in rows if r["modality"] == "CT"]
    with pytest.raises(VolforgeError, match="no scan for the sources that the method cycle learns from"):
        domains(settings(method="cycle"), only_ct, 0)
    assert domains(settings(), only_ct, 0).targets  # painted MR needs none
    with pytest.raises(VolforgeError, match="no scan for the sources that the method painted learns from"):
        domains(settings(consistency=1.0), only_ct, 0)


def test_further_contrasts_are_those_of_the_same_frame():
    def row(scan, subject, frame, contrast, modality="MR"):
        return {"scan": scan, "subject": subject, "frame": frame, "contrast": contrast, "modality": modality}

    rows = [
        row("a", "p", "f", "in"),
        row("b", "p", "f", "out"),
        row("c", "p", "g", "water"),
        row("d", "q", "f", "water"),
    ]
    assert companions_of(rows[0], rows, ["out", "water"], "here") == {"out": rows[1]}
    with pytest.raises(VolforgeError, match="two scans of the contrast out in the frame of a: b, e"):
        companions_of(rows[0], [*rows, row("e", "p", "f", "out")], ["out"], "here")
    nowhere = [row("a", "p", "", "in"), row("b", "p", "", "out")]  # no frame: nothing says that they are aligned
    assert companions_of(nowhere[0], nowhere, ["out"], "here") == {}


def test_both_directions(rows):
    back = replace(settings(method="cycle"), source=CT, target=MR)
    found = domains(back, rows, 0)
    assert {r["modality"] for r in found.sources} == {"CT"}
    assert {r["modality"] for r in found.targets} == {"MR"}
