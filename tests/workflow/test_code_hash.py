import json
import subprocess
import sys

import pytest

from tests.conftest import ball_ct, save
from volforge.workflow import code_hash as module
from volforge.workflow.code_hash import code_hash, modules_of

ENTRIES = [
    "volforge.cli.scan:import_",
    "volforge.cli.scan:cut",
    "volforge.cli.scan:export",
    "volforge.cli.scan:label_",
    "volforge.cli.cohort:phantoms",
    "volforge.cli.cohort:collect",
    "volforge.cli.cohort:index",
    "volforge.cli.study:report",
]


# runs a command and prints the modules of the package that it loaded
LOADED = (
    "import sys, json; from volforge.cli import app\n"
    "sys.argv = ['volforge'] + json.loads(sys.argv[1])\n"
    "try: app()\n"
    "except SystemExit as e: assert not e.code, e.code\n"
    "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'volforge']))"
)


def fresh(entry):
    for name in ("_content", "_file", "_is_module"):
        getattr(module, name).cache_clear()
    return code_hash(entry)


@pytest.mark.parametrize("entry", ENTRIES)
def test_hash_is_stable_and_its_own(entry):
    assert fresh(entry) == fresh(entry)
    others = {code_hash(e) for e in ENTRIES if e != entry}
    assert code_hash(entry) not in others


def test_every_rule_with_a_command_has_the_hash_of_its_command(root):
    import re

    nouns = {"import": "import_", "label": "label_", "train-encoder": "train_encoder_", "train-judge": "train_judge_"}
    nouns |= {"inflate-arm": "inflate_arm_", "measure-arm": "measure_arm_"}
    for file in sorted((root / "rules").glob("*.smk")):
        for rule in re.split(r"\n(?=rule )", file.read_text()):
            command = re.search(r"volforge (\w+) ([\w-]+)", rule.split("shell:")[-1]) if "shell:" in rule else None
            if command:
                entry = f'code_hash("volforge.cli.{command[1]}:{nouns.get(command[2], command[2])}")'
                assert entry in rule, (file.name, command[0])


def test_comments_and_docstrings_do_not_count_and_code_does(tmp_path, monkeypatch):
    target = tmp_path / "volforge"
    import shutil

    import volforge

    shutil.copytree(volforge.__path__[0], target)
    monkeypatch.setattr(module, "__file__", str(target / "workflow" / "code_hash.py"))
    before = fresh("volforge.cli.scan:import_")
    other = fresh("volforge.cli.cohort:collect")
    file = target / "volume" / "body_mask.py"
    text = file.read_text()
    file.write_text("# a remark\n" + text.replace('"""The body in a volume', '"""The body of a volume'))
    assert fresh("volforge.cli.scan:import_") == before
    file.write_text(text.replace("BOARD_MM = 10.0", "BOARD_MM = 11.0"))
    assert fresh("volforge.cli.scan:import_") != before
    assert fresh("volforge.cli.cohort:collect") == other


def test_what_is_kept_gives_the_same_hash_and_broken_files_count_as_empty(tmp_path, monkeypatch):
    """Every job on a cluster asks for the hashes again: nothing is parsed when nothing changed."""
    before = code_hash("volforge.cli.scan:cut")
    kept = tmp_path / ".snakemake" / "code.json"
    monkeypatch.setattr(module, "_kept", [])
    monkeypatch.setattr(module, "_known", {})
    module.keep_in(kept)
    assert fresh("volforge.cli.scan:cut") == before
    assert "volforge" not in kept.read_text()[:66]  # by content, not by name
    monkeypatch.setattr(module, "_known", {})
    with monkeypatch.context() as patch:
        patch.setattr(module, "_examined", None)  # a call would fail
        module.keep_in(kept)
        assert fresh("volforge.cli.scan:cut") == before
    kept.write_text(kept.read_text()[:1000])
    monkeypatch.setattr(module, "_known", {})
    module.keep_in(kept)
    assert fresh("volforge.cli.scan:cut") == before


@pytest.mark.parametrize("what", ["import", "cut"])
def test_hash_covers_every_module_that_is_loaded_at_run_time(tmp_path, what):
    image = save(tmp_path / "a.nii.gz", ball_ct())
    imports = ["scan", "import", "--image", str(image), "--out", str(tmp_path / "scan")]
    cuts = [
        "scan",
        "cut",
        str(tmp_path / "scan"),
        "--recipe",
        '{"kind": "slices", "spacing_mm": 3}',
        "--out",
        str(tmp_path / "c"),
    ]
    for words in [imports, cuts][: 2 if what == "cut" else 1]:
        done = subprocess.run(
            [sys.executable, "-c", LOADED, json.dumps(words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1])) - {"volforge.cli", "volforge.cli.scan"}
    assert loaded <= modules_of(f"volforge.cli.scan:{'import_' if what == 'import' else 'cut'}")


def test_hash_of_a_training_covers_all_but_the_networks_and_losses_which_settings_hash(tmp_path):
    from tests.training.cohort import content, cut_cohort
    from tests.training.test_resume import words
    from volforge.workflow.code_hash import hash_of_modules

    scans = cut_cohort(tmp_path, 3)
    settings = content(training={"steps": 1, "validation": 0, "augmentation": "none"})
    arguments = words(tmp_path / "run", scans, settings)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1])) - {"volforge.cli", "volforge.cli.model"}
    by_name = {m for m in loaded if m.startswith(("volforge.networks.", "volforge.losses."))}
    assert by_name == {f"volforge.{m}" for m in (
        "networks.vnet", "losses.combined", "losses.cross_entropy", "losses.dice",
    )}  # fmt: skip
    assert loaded - by_name - {"volforge.networks", "volforge.losses"} <= modules_of("volforge.cli.model:train")
    assert hash_of_modules(["volforge.losses.combined"]) != hash_of_modules(["volforge.losses.dice"])
    assert hash_of_modules([]) == ""
