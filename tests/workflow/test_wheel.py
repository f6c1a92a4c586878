"""From a wheel alone: `volforge new` and `volforge run` in a folder outside of any clone, on made-up volumes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, save
from tests.wheel import volforge_of
from tests.workflow.test_readme import blocks

pytestmark = pytest.mark.xdist_group("wheel")


def crops(folder, count=4):
    """Made-up MR crops in the layout of the Medical Segmentation Decathlon: two bright neighbours in noise."""
    grid = np.indices((24, 32, 24)).astype(float)
    for n in range(count):
        random = np.random.default_rng(n)
        middle = np.array([12, 16, 12]) + random.uniform(-2, 2, 3)
        distance = np.sqrt((((grid.T - middle) / [4, 9, 4]) ** 2).sum(-1)).T
        labels = np.where(distance < 1, np.where(grid[1] > middle[1], 1, 2), 0).astype(np.uint8)
        image = 200 + 150 * (labels > 0) + 60 * (labels == 2) + random.normal(0, 15, labels.shape)
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        save(folder / f"imagesTr/hippocampus_{n:03d}.nii.gz", image.astype(np.int16), affine)
        save(folder / f"labelsTr/hippocampus_{n:03d}.nii.gz", labels, affine)


def test_the_wheel_holds_the_workflow_and_nothing_of_it_is_left_behind(site):
    shipped = site / "volforge/shipped"
    for name in ("Snakefile", "rules", "envs", "config", "profiles"):
        files = [ROOT / name] if (ROOT / name).is_file() else [p for p in (ROOT / name).rglob("*") if p.is_file()]
        for file in [f for f in files if "__pycache__" not in f.parts]:
            assert (shipped / file.relative_to(ROOT)).read_bytes() == file.read_bytes(), file


def test_every_page_that_a_new_project_or_a_message_names_is_in_the_wheel(site, tmp_path):
    """It was: the configuration of a new project named pages that only a clone has."""
    assert volforge_of(site, "new", "mine", cwd=tmp_path).returncode == 0
    text = (tmp_path / "mine/config.yaml").read_text(encoding="utf-8")
    home = re.search(r"lie in (.+)", text)
    assert home is not None
    assert Path(home[1]) == site / "volforge/shipped"
    named = set(re.findall(r"docs/[\w-]+\.md", text))
    assert {"docs/configuration.md", "docs/studies.md"} <= named
    for file in (site / "volforge").rglob("*.py"):
        if file.name != "bundle.py":  # a bundle has a page of its own
            named |= set(re.findall(r"docs/[\w-]+\.md", file.read_text(encoding="utf-8")))
    assert len(named) > 8
    assert [name for name in named if not (site / "volforge/shipped" / name).is_file()] == []


def test_hashes_of_code_and_schemas_need_no_clone(site, tmp_path):
    program = (
        "import volforge, json; from volforge.workflow import shipped, code_hash\n"
        "print(volforge.__file__); print(shipped.folder())\n"
        "print(code_hash.code_hash('volforge.volume.cut_scan:cut_scan'))\n"
        "print(json.loads((shipped.folder() / 'config/schemas/config.schema.json').read_text())['title'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    package, home, hashed, title = done.stdout.splitlines()
    assert package == str(site / "volforge/__init__.py")
    assert home == str(site / "volforge/shipped")
    from volforge.workflow.code_hash import code_hash

    assert hashed == code_hash("volforge.volume.cut_scan:cut_scan")  # the same results count as made
    assert title == "Configuration"


def without_libraries(text: str) -> str:
    """What was said, without the installed libraries: they may stand in an environment within the clone."""
    return text.replace(str(Path(sys.prefix)), "").replace(str(ROOT / ".venv"), "")


def test_the_embedded_default_is_planned_from_the_wheel(site, tmp_path):
    done = volforge_of(site, "run", site / "volforge/shipped/config/config.yaml", "-n", "--", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert str(ROOT) not in without_libraries(done.stdout + done.stderr)


@pytest.mark.slow
def test_the_page_of_the_first_cohort_works_as_printed_from_the_wheel_alone(site, tmp_path):
    """Its commands in the order of the page, on made-up crops in the place of the data set that it names."""
    crops(tmp_path / "Task04_Hippocampus")
    _, make, check, run, *_ = blocks("docs/your-first-cohort.md", "bash")
    made = printed(site, make, tmp_path)
    assert "study task04_hippocampus_segmentation" in made.stdout
    assert made.stdout.rstrip().endswith("cd hippocampus && volforge run")
    project = tmp_path / "hippocampus"
    page = (ROOT / "docs/your-first-cohort.md").read_text()
    assert {p.name for p in project.iterdir()} == set(re.findall(r"^\| `hippocampus/(.+?)`", page, re.MULTILINE))
    checked = printed(site, check, tmp_path)
    assert "4 scans, 1 studies, no error" in checked.stdout
    assert not (project / "results").exists()
    shorten(project / "config.yaml")
    done = printed(site, run, project)
    first = next(line for line in done.stderr.splitlines() if line.startswith("snakemake "))
    assert first.startswith(f"snakemake --snakefile {site}/volforge/shipped/Snakefile --configfile config.yaml")
    assert (project / "results/report.html").exists()
    table = json.loads((project / "results/studies/task04_hippocampus_segmentation/table.json").read_text())
    assert list(table["arms"]) == ["mean_labels", "volforge"]
    code = json.loads((project / "results/provenance.json").read_text())["code"]
    assert set(code) == {"sha256"}
    said = done.stdout + done.stderr + "".join(p.read_text() for p in (project / "logs").rglob("*.log"))
    assert str(ROOT) not in without_libraries(said) + (project / "results/report.html").read_text()
    again = volforge_of(site, "run", "-n", cwd=project)
    assert "Nothing to be done" in again.stdout + again.stderr


def shorten(file):
    """A tenth of the steps: what they are good for is stated on real crops, in tests/real/test_first_cohort.py."""
    shorter = re.sub(r"\b(steps|validate_every): (\d+)", lambda m: f"{m[1]}: {int(m[2]) // 10}", file.read_text())
    assert "training: {steps: 30, " in shorter
    file.write_text(shorter)


def printed(site, block, cwd):
    """A shell block of the page; its `volforge` is that of the wheel."""
    done = subprocess.run(
        ["bash", "-e", "-c", block], capture_output=True, text=True, cwd=cwd, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(site), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return done
