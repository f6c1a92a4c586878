"""Generated files say what the code says: mend a difference with `make generated`."""

import json
import re
import tomllib

import pytest
import yaml

from volforge.generate import generated_files
from volforge.workflow.configuration import Configuration

NAMES = [
    "config/schemas/config.schema.json",
    "config/schemas/sheet.schema.json",
    "config/schemas/structures.schema.json",
    "config/reference.yaml",
    "docs/configuration.md",
    "envs/cpu.yaml",
    "envs/gpu.yaml",
    "envs/Containerfile",
]


@pytest.mark.parametrize("name", NAMES)
def test_generated_file_is_up_to_date(root, name):
    assert (root / name).read_text(encoding="utf-8") == generated_files(root)[name], "run `make generated`"


def test_every_generated_file_is_listed(root):
    assert sorted(generated_files(root)) == sorted(NAMES)


def test_default_configuration_is_valid(root):
    Configuration.model_validate(yaml.safe_load((root / "config/config.yaml").read_text()))


def test_schema_is_closed(root):
    schema = json.loads((root / "config/schemas/config.schema.json").read_text())
    for name, model in schema["$defs"].items():
        assert model["additionalProperties"] is False, name


def test_pins_are_plain_and_the_same_everywhere(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    pins = list(project["dependencies"]) + [p for e in project["optional-dependencies"].values() for p in e]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", p) for p in pins)
    locked = dict(
        line.lower().replace("_", "-").split("==")
        for line in (root / "envs/constraints.txt").read_text().splitlines()
        if "==" in line
    )
    for pin in pins:
        name, version = pin.lower().replace("_", "-").split("==")
        assert locked[name] == version, name


def test_version_stands_once(root):
    import volforge

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["version"] == volforge.__version__


def test_snakemake_floor_is_the_same_everywhere(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    pinned = next(p for p in project["dependencies"] if p.startswith("snakemake==")).split("==")[1]
    floor = re.search(r'min_version\("([\d.]+)"\)', (root / "Snakefile").read_text())
    assert floor is not None
    assert pinned.startswith(floor[1])
