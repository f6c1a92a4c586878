"""Every command that the documentation prints is one that exists; every key and column is explained."""

import re
import shlex

import pytest

from tests.conftest import ROOT, snakemake, volforge
from volforge.cohort.sheet import COLUMNS

PAGES = sorted([ROOT / "README.md", ROOT / "config/README.md", *(ROOT / "docs").glob("*.md")])


def commands() -> list[tuple[str, str]]:
    """(page, command) of every shell block."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text(), re.DOTALL):
            joined = block.replace("\\\n", " ")
            found += [
                (page.name, line.split("  #")[0].strip())
                for line in joined.splitlines()
                if line.strip() and not line.strip().startswith("#")
            ]
    return found


def test_pages_print_commands():
    assert len(commands()) > 10


@pytest.mark.parametrize(("page", "command"), commands())
def test_printed_command_is_understood(page, command, tmp_path):
    """volforge: the verb and every option exist. snakemake: the line parses and plans. make: the target exists."""
    words = shlex.split(command)
    while words and "=" in words[0]:
        words = words[1:]
    if words[0].endswith("volforge"):
        verb = [w for w in words[1:] if re.fullmatch(r"[a-z]+", w)][:2]
        if words[1] in ("validate",):
            verb = ["validate"]
        done = volforge(*verb, "--help")
        assert done.returncode == 0, (page, command)
        own = words[: words.index("--")] if "--" in words else words  # what follows is Snakemake's
        for option in [w.split("=")[0] for w in own if w.startswith("--")]:
            assert option in done.stdout, (page, command, option)
    elif words[0].endswith("snakemake"):
        for name in ("config", "profiles", "tests"):
            (tmp_path / name).symlink_to(ROOT / name)
        if "--configfile" in words and "my" in words[words.index("--configfile") + 1]:
            pytest.skip("plans the reader's own cohort")
        if "--configfile" in words and "papers" in words[words.index("--configfile") + 1]:
            pytest.skip("plans the reader's own cohort; tests/workflow/test_papers.py does on a generated one")
        if "--configfile" in words and re.search("real|examples", words[words.index("--configfile") + 1]):
            if not (ROOT.parent / "shared/data/SOURCES.md").exists():
                pytest.skip("real volumes are not beside the project")
            words[words.index("--configfile") + 1] = str(ROOT / words[words.index("--configfile") + 1])
        arguments = [w for w in words[1:] if w != "-n"]
        if "slurm" in arguments:  # needs `make profile`, tested with the cluster's stub
            arguments[arguments.index("slurm")] = "profiles/slurm"
        done = snakemake(*arguments, "-n", cwd=tmp_path)
        assert done.returncode == 0, (page, command, done.stderr)
    elif words[0] == "make":
        targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert targets is not None
        assert words[1] in targets[1].split(), (page, command)
    elif words[0] in ("git", "cd", "pip", "python", "podman", "cp"):
        assert page
    else:
        pytest.fail(f"{page} prints a command that no test knows: {command}")


def test_every_column_is_explained():
    text = (ROOT / "config/README.md").read_text()
    for column in COLUMNS:
        assert f"`{column}`" in text, column


def test_every_key_is_explained():
    text = (ROOT / "config/README.md").read_text()
    from volforge.config.models import Cohort, RegionRecipe, SliceRecipe
    from volforge.tasks.registry import TASKS, task
    from volforge.workflow.configuration import Configuration, Report, Weights

    for model in (Configuration, Cohort, SliceRecipe, RegionRecipe, Report, Weights):
        for key in model.model_fields:
            assert f"`{key}`" in text, key
    for name in TASKS:
        schema = task(name).study.model_json_schema()
        parts = {name: schema, **schema["$defs"]}
        for part in parts.keys() - {"Component"}:  # a network or loss is written as its name, with its own keywords
            for key in parts[part].get("properties", {}):
                assert f"`{key}`" in text, (part, key)


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_arm_on_the_page_of_semantic_synthesis_is_one(tmp_path):
    import yaml

    from volforge.workflow.run import load_run

    page = (ROOT / "docs/semantic-synthesis.md").read_text()
    block, samples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    content["cohorts"] = {"body": {"sheet": str(ROOT / "config/cohorts/body.tsv"), "phantom": {"kind": "body"}}}
    content["studies"] = yaml.safe_load(block)["studies"]
    content["report"] = {}
    options = [yaml.safe_load(line)["inference"] for line in samples.splitlines()]
    for own in (None, *options):
        if own is not None:
            content["studies"]["body_semantic_synthesis"]["arms"]["volforge"]["inference"] = own
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        assert load_run([tmp_path / "config.yaml"], None).problems == []
