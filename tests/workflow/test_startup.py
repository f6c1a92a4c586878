"""What must not be imported: process start is the largest cost of a small job."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = {"torch", "lightning_fabric", "monai", "pandas", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_parse_time_needs_no_numpy():
    """What the Snakefile imports; each cluster job parses it again."""
    found = loaded_by("import volforge.workflow.run, volforge.workflow.jobs, volforge.workflow.code_hash")
    assert not found & (HEAVY | {"numpy", "scipy", "nibabel", "SimpleITK", "PIL"})


def test_command_line_loads_a_noun_only_when_asked():
    found = loaded_by("import volforge.cli")
    assert not found & (HEAVY | {"numpy", "volforge.cli.scan", "volforge.cli.cohort", "pydantic"})


# what MONAI imports, itself and of the packages that it finds; of our own code none of these is needed there
MONAI = {"monai", "matplotlib", "pandas", "pydicom", "gdcm", "requests", "scipy", "scipy.signal", "skimage", "zarr"}
MONAI |= {"torch", "tensorboardX"}
# the first optimiser imports torch._dynamo, and so does Fabric; scalars are written for TensorBoard
TRAINING = {"torch", "torch._dynamo", "lightning_fabric", "tensorboardX", "blosc2"}
JOBS = {
    "import": set(),
    "cut of slices": {"blosc2"},
    "cut of a region": {"blosc2", "SimpleITK"},
    "collect": set(),
    "predict, baseline": set(),
    "measure, label maps": set(),
    "predict, baseline of images": set(),
    "measure, images": {"SimpleITK", "scipy"},
    "inflate": {"SimpleITK", "matplotlib", "numba", "pymeshlab", "scipy", "skimage", "trimesh"},
    "measure, joints": {"SimpleITK", "pymeshlab", "scipy", "skimage", "trimesh"},
    "measures of a study": set(),
    "table": {"pandas", "scipy"},
    "figures": {"matplotlib", "pandas", "scipy"},
    "report": {"pandas", "scipy"},
    "crate": set(),
    "train": TRAINING,
    "train, augmented": TRAINING | MONAI,
    "train, validated by windows": TRAINING | MONAI,
    "predict, one window": {"torch", "SimpleITK"},
    "predict, several windows": MONAI | {"SimpleITK"},
    "train, generator": TRAINING | {"scipy", "skimage"},
    "predict, generator": {"torch", "SimpleITK"},
    "train an encoder": {"torch", "torch._dynamo"},
    "train a judge": MONAI | {"torch._dynamo"},
    "measure, generated images": {"torch"},
    "measure, generated images, judged": MONAI,
}


@pytest.fixture(scope="module")
def loaded():
    """Heavy packages that each job has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.workflow.started"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.xdist_group("startup")
def test_every_kind_of_job_is_listed(loaded):
    assert loaded.keys() == JOBS.keys()


@pytest.mark.slow
@pytest.mark.xdist_group("startup")
@pytest.mark.parametrize("name", JOBS)
def test_a_job_loads_what_it_needs_and_no_more(loaded, name):
    assert set(loaded[name]) == JOBS[name]


def test_no_package_that_only_slows_the_start_is_installed_by_us():
    """Fabric imports torchmetrics where it is there, which takes a second; `lightning` brings it."""
    pins = {line.split("==")[0].lower() for line in (ROOT / "envs/constraints.txt").read_text().splitlines()}
    assert "lightning-fabric" in pins
    assert not pins & {"torchmetrics", "lightning", "pytorch-lightning", "torchvision"}
