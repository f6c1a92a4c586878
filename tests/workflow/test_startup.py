"""What must not be imported: process start is the largest cost of a small job."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "lightning", "monai", "pandas", "matplotlib"}


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


@pytest.mark.parametrize(
    "module", ["volforge.volume.import_scan", "volforge.volume.cut_scan", "volforge.cohort.collect"]
)
def test_stages_without_a_network_are_light(module):
    assert not loaded_by(f"import {module}") & (HEAVY | {"scipy.ndimage", "SimpleITK", "blosc2", "trimesh"})
