"""The README's first cohort, done as it is printed, and the snippet of docs/outputs.md."""

import re

import pytest

from tests.conftest import ROOT, ball_ct, save, snakemake, volforge

pytestmark = pytest.mark.xdist_group("readme")


def blocks(page: str, kind: str) -> list[str]:
    """Code blocks of a page, without the indentation of the list that they stand in."""
    found: list[str] = []
    current: list[str] | None = None
    indent, is_wanted = 0, False
    for line in (ROOT / page).read_text().splitlines():
        if line.lstrip().startswith("```"):
            if current is None:
                indent, is_wanted = len(line) - len(line.lstrip()), line.strip() == f"```{kind}"
                current = []
            else:
                found += ["\n".join(current) + "\n"] if is_wanted else []
                current = None
        elif current is not None:
            current.append(line[indent:])
    return found


def test_first_cohort_of_the_readme_works_as_printed(tmp_path):
    sheet = next(b for b in blocks("README.md", "") if b.startswith("subject\tscan"))
    labels = (ball_ct() > 0).astype("uint8")
    save(tmp_path / "data/p1/ct.nii.gz", ball_ct())
    save(tmp_path / "data/p1/organs.nii.gz", labels)
    save(tmp_path / "data/p2/ct.nii.gz", ball_ct())
    (tmp_path / "my.tsv").write_text(sheet.replace("/data/", f"{tmp_path}/data/"))
    (tmp_path / "my.structures.tsv").write_text("structure\tid\nliver\t1\n")
    (tmp_path / "my.yaml").write_text(blocks("README.md", "yaml")[0])
    checked = volforge("validate", "my.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    printed = [
        line for b in blocks("README.md", "bash") for line in b.splitlines() if "--profile profiles/local" in line
    ]
    assert printed
    for line in printed:
        done = snakemake(*line.split()[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "results/report.html").exists()


def test_commands_by_hand_work_as_printed(tmp_path):
    save(tmp_path / "scan.nii.gz", ball_ct())
    lines = next(b for b in blocks("docs/add-a-cohort.md", "bash") if "scan import" in b)
    import shlex

    for line in lines.splitlines():
        done = volforge(*shlex.split(line)[1:], cwd=tmp_path)
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "body-on-source-grid.nii.gz").exists()


def test_snippet_of_the_outputs_page_runs(tmp_path, monkeypatch):
    from volforge.config.models import SliceRecipe
    from volforge.volume.cut_scan import cut_scan
    from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan

    files = {"image": save(tmp_path / "a.nii.gz", ball_ct()), "labels": save(tmp_path / "l.nii.gz", ball_ct() * 0 + 1)}
    import_scan(ScanRequest("a", "CT", "hu", files), ImportSettings(), tmp_path / "scan", record_refusal=False)
    snippet = blocks("docs/outputs.md", "python")[0]
    folder = re.search(r'Path\("([^"]+)"\)', snippet)
    assert folder is not None
    cut_scan(tmp_path / "scan", SliceRecipe(kind="slices"), tmp_path / folder[1])
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(snippet, names)
    assert names["slice_"].dtype == "float32"
    assert names["volume"].shape == ball_ct().shape
