"""Files from the future: a clock that was ahead for a while, or data of a machine whose clock is."""

import json
import os
import time

from tests.conftest import ROOT, ball_ct, save, snakemake, volforge
from volforge.workflow.clock import is_of_future, set_back

AHEAD_S = 2 * 86400
SHEET = "subject\tscan\tmodality\timage\na\tone\tCT\ta.nii.gz\nb\ttwo\tCT\tb.nii.gz\n"


def times(folder):
    return {p.relative_to(folder).as_posix(): p.lstat().st_mtime for p in sorted(folder.rglob("*"))}


def test_results_keep_their_order_and_nothing_else_changes(tmp_path):
    now = time.time()
    (tmp_path / "results/a/b").mkdir(parents=True)
    for name, ahead in (("a/b/one", AHEAD_S), ("a/two", 50), ("three", -50), ("a/link", 0)):
        path = tmp_path / "results" / name
        if name == "a/link":
            path.symlink_to("/nowhere")
        else:
            path.touch()
            os.utime(path, (now + ahead,) * 2)
    (tmp_path / "mine").touch()
    os.utime(tmp_path / "mine", (now + AHEAD_S,) * 2)
    before = times(tmp_path)
    assert set_back(["results/three", "results/none"], tmp_path, now) == 0
    assert times(tmp_path) == before
    assert set_back(["results/three", "results/a/b/one"], tmp_path, now) == 2
    changed = {n: t for n, t in times(tmp_path).items() if t != before[n]}
    assert changed.keys() == {"results/a/b/one", "results/a/two"}
    assert changed["results/a/two"] < changed["results/a/b/one"], "what was made later stays newer"
    assert abs(changed["results/a/b/one"] - now) < 1e-3
    assert now - changed["results/a/two"] < 0.01
    assert not is_of_future(tmp_path / "results/a/b/one", now)


def test_a_run_goes_on_from_results_and_images_of_the_future(tmp_path):
    """It was: every job that read one failed, in this run and all others, until that time came."""
    for name in ("a", "b"):
        save(tmp_path / f"{name}.nii.gz", ball_ct())
    os.utime(tmp_path / "a.nii.gz", (time.time() + AHEAD_S,) * 2)  # copied from elsewhere
    (tmp_path / "s.tsv").write_text(SHEET)
    (tmp_path / "c.yaml").write_text(
        "cohorts:\n  c: {sheet: s.tsv, recipes: [r]}\nrecipes:\n  r: {kind: region, around: image}\n"
    )

    def run(*more):
        done = snakemake(*more, "--profile", ROOT / "profiles/local", "--configfile", "c.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stderr

    assert "from the future" not in run("recipes")
    cohort = tmp_path / "results/cohorts/c"
    table = (cohort / "recipes/r/index.tsv").read_bytes()
    for path in cohort.rglob("*"):
        os.utime(path, (time.time() + AHEAD_S,) * 2)
    (cohort / "recipes/r/index.tsv").unlink()
    said = run("recipes")
    assert "results were from the future" in said
    assert (cohort / "recipes/r/index.tsv").read_bytes() == table
    journal = [json.loads(line) for line in (tmp_path / ".snakemake/volforge/journal.jsonl").read_text().splitlines()]
    assert [e["rule"] for e in journal if e["event"] == "start"] == ["index_recipe", "recipes"]
    run("recipes")
    states = {e["rule"]: e["state"] for e in json.loads(volforge("status", "--json", cwd=tmp_path).stdout)}
    assert states == {
        **dict.fromkeys(("import_scan", "collect_scans", "cut_scan", "index_recipe"), "done"),
        "report": "waiting",
        "write_crate": "waiting",
    }


def test_a_source_file_from_the_future_is_not_read_again_when_its_time_has_come(tmp_path):
    """One that changed meanwhile is."""
    for name in ("a", "b"):
        save(tmp_path / f"{name}.nii.gz", ball_ct())
    os.utime(tmp_path / "a.nii.gz", (time.time() + AHEAD_S,) * 2)
    (tmp_path / "s.tsv").write_text(SHEET)
    (tmp_path / "c.yaml").write_text("cohorts:\n  c: {sheet: s.tsv}\n")
    later = tmp_path / "later"
    later.mkdir()
    (later / "sitecustomize.py").write_text(
        f"import time\nnow = time.time\ntime.time = lambda: now() + {2 * AHEAD_S}\n"
    )
    command = ("--configfile", "c.yaml", "--cores", "1", "cohorts")
    done = snakemake(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    env = {"PYTHONPATH": os.pathsep.join(filter(None, (str(later), os.environ.get("PYTHONPATH"))))}
    said = snakemake("-n", *command, cwd=tmp_path, env=env)
    assert "Nothing to be done" in said.stdout + said.stderr, said.stdout + said.stderr
    found = (tmp_path / "a.nii.gz").stat()
    os.utime(tmp_path / "a.nii.gz", ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    said = snakemake("-n", *command, cwd=tmp_path, env=env)
    planned = said.stdout + said.stderr
    assert "scans/one/record.json" in planned
    assert "output: results/cohorts/c/scans/two/record.json" not in planned
