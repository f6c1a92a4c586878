"""The long table of cases, and what a million rows may cost: the same values as by plain Python, few texts in memory."""

import math
import random
import subprocess
import sys

import pytest
from benchmarks.made_up import study_settings

from volforge.metrics.measure import Measure
from volforge.report.aggregate import measures_frame
from volforge.report.figures import MOST_POINTS, thin
from volforge.report.formats import shown
from volforge.report.study_view import _cases
from volforge.report.table import study_table
from volforge.study.measures import COLUMNS, Origin, collect, read_measures, row, write_measures


def written(path, seed=0):
    """Measures of two arms by fold, seed, scan, sample, side and structure: some without a value, some infinite."""
    draw = random.Random(seed)
    rows = []
    for arm in ("volforge", "base"):
        for scan in range(7):
            for sample in (0, 1):
                for side in ("left", "right"):
                    origin = Origin(
                        "s", arm, scan % 2, 0, "c", f"p{scan // 2}", f's {scan}\t"x"', side, sample, "expert"
                    )
                    for name in ("dice", "hd95_mm"):
                        if name == "hd95_mm" and scan == 3:
                            continue
                        value = draw.choice([math.nan, math.inf, draw.random(), draw.random()])
                        rows.append(row(origin, Measure(name, value, draw.choice(["liver", "skull"]))))
    rows.append(row(Origin("s", "base", 0, 0, "c"), Measure("fid", 3.0)))
    draw.shuffle(rows)
    write_measures(path, rows)


def plain(path, measures):
    """Rows of the long table, one case at a time."""
    found = {}
    for r in read_measures(path):
        if r["scan"] and r["measure"] in measures:
            key = tuple(r[c] for c in ("arm", "fold", "seed", "scan", "sample"))
            own = found.setdefault(key, (r["subject"], {}))[1]
            own.setdefault(r["measure"], []).append(float(r["value"]) if r["value"] else None)
    for (arm, fold, seed, scan, sample), (subject, values) in found.items():
        place = f"fold {fold}, seed {seed}" + (f", sample {sample}" if sample != "0" else "")
        texts = []
        for measure in measures:
            every = values.get(measure, [])
            known = [v for v in every if v is not None]
            text = shown(sum(known) / len(known)) if known else "–"
            missing = len(every) - len(known)
            texts.append(text + (f" ({missing} without a value)" if missing else ""))
        yield [scan, subject, arm, place, *texts]


@pytest.mark.parametrize("seed", range(5))
def test_every_case_has_the_mean_of_its_structures_and_sides(tmp_path, seed):
    written(tmp_path / "measures.tsv", seed)
    settings = study_settings(["volforge", "base"]) | {"parts": []}
    table = study_table(tmp_path / "measures.tsv", settings)
    present, shown_cases, rows = _cases(tmp_path, measures_frame(tmp_path / "measures.tsv"), table, [])
    assert shown_cases == []
    assert {"dice", "hd95_mm"} == set(present)
    assert rows == list(plain(tmp_path / "measures.tsv", present))


def test_joined_measures_are_those_of_the_parts_one_after_the_other(tmp_path):
    parts = [tmp_path / f"{k}.tsv" for k in range(3)]
    for k, part in enumerate(parts):
        written(part, k)
    assert collect(parts, tmp_path / "all.tsv") == sum(len(read_measures(p)) for p in parts)
    texts = [p.read_text(encoding="utf-8") for p in parts]
    head = "\t".join(COLUMNS) + "\n"
    assert (tmp_path / "all.tsv").read_text(encoding="utf-8") == head + "".join(t.removeprefix(head) for t in texts)


def test_a_large_table_of_measures_costs_half_a_kilobyte_a_row(tmp_path):
    """It was 1.26 KB: a mapping for each row, and a text for each cell. Now 0.42."""
    count = 60_000
    rows = [
        row(Origin("s", f"arm {i % 40}", 0, 0, "c", f"p{i // 40}", f"s{i // 40}", label_source="expert"), Measure("dice", i / count, "liver"))
        for i in range(count)
    ]  # fmt: skip
    write_measures(tmp_path / "measures.tsv", rows)
    program = (
        "import resource, sys, pandas\nfrom pathlib import Path\n"
        "from volforge.report.aggregate import measures_frame\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "measures_frame(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "measures.tsv"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 700 * count


def test_points_are_thinned_evenly_and_keep_both_ends():
    import numpy as np

    points = np.random.default_rng(0).normal(0, 1, 5001)
    few = thin(points, 51)
    assert few.size == 51
    assert (few.min(), few.max(), few[25]) == (points.min(), points.max(), np.median(points))
    assert thin(points, 0).size == 2
    assert MOST_POINTS < 100_000
