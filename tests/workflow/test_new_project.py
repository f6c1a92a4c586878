"""`volforge new`: what is written for which data, that it can run, and that nothing half is left."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.cohort.layouts import trees
from tests.conftest import save, volforge
from tests.dicom.files import phantom, write_series
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.registry import LAYOUTS
from volforge.errors import VolforgeError, errors_of
from volforge.tasks import registry
from volforge.tasks.starting import CROP_MM
from volforge.volume.read import read_canonical
from volforge.workflow.new_project import new_project, new_template
from volforge.workflow.run import load_run, resolve

NAMED = [name for name in LAYOUTS if name not in ("dicom", "pattern")]


def volume(path, shape=(16, 20, 12), spacing=10.0, value=40):
    array = np.full(shape, -1000, np.int16)
    array[3:-3, 3:-3, 2:-2] = value
    return save(path, array, np.diag([spacing, spacing, spacing, 1.0]))


def raw(folder, labels, count=4, channels=("CT",), **kind):
    """Volumes in the layout of nnU-Net, with these structures."""
    content = {"channel_names": dict(enumerate(channels)), "labels": {"background": 0, **labels}, "numTraining": count}
    trees.put(folder / "dataset.json", {**content, "file_ending": ".nii.gz"})
    for n in range(count):
        volume(folder / f"imagesTr/case_{n:02d}_0000.nii.gz", **kind)
        volume(folder / f"labelsTr/case_{n:02d}.nii.gz", **kind, value=1)


def configuration(project):
    return yaml.safe_load((project / "config.yaml").read_text())


@pytest.mark.parametrize("layout", NAMED)
def test_every_layout_gives_a_project_without_an_error(tmp_path, layout):
    getattr(trees, layout)(tmp_path / "data")
    made = new_project(tmp_path / "project", layout, tmp_path / "data", Options())
    problems = resolve([tmp_path / "project/config.yaml"])[0].problems
    assert errors_of(problems) == []
    assert set(made.files) == {p.name for p in (tmp_path / "project").iterdir()}
    named = {s.split("data_", 1)[1] for s in made.studies}
    assert named | set(made.left_out) == set(registry.TASKS)
    assert not named & set(made.left_out)
    assert list(configuration(tmp_path / "project").get("studies", {})) == made.studies


def test_labels_give_segmentation_and_a_sheet_beside_the_configuration(tmp_path):
    raw(tmp_path / "my data", {"liver": 1, "spleen": 2})
    made = new_project(tmp_path / "project", "nnunet", tmp_path / "my data", Options())
    assert made.studies == ["my_data_segmentation"]
    run = load_run([tmp_path / "project/config.yaml"])
    assert list(run.cohorts["my_data"].rows) == [f"case_{n:02d}" for n in range(4)]
    content = configuration(tmp_path / "project")
    assert content["cohorts"]["my_data"]["sheet"] == "my_data.tsv"
    assert content["cohorts"]["my_data"]["root"] == str(tmp_path / "my data")
    study = content["studies"]["my_data_segmentation"]
    assert study["arms"].keys() == {"mean_labels", "volforge"}  # a threshold of bone finds no liver
    assert "2 structures" in made.left_out["semantic_synthesis"]
    assert "#   my_data_semantic_synthesis:" in (tmp_path / "project/config.yaml").read_text()


def test_a_doubted_study_can_be_run_by_taking_the_marks_away(tmp_path):
    raw(tmp_path / "data", {"liver": 1, "spleen": 2})
    new_project(tmp_path / "project", "nnunet", tmp_path / "data", Options())
    file = tmp_path / "project/config.yaml"
    lines = file.read_text().splitlines()
    at = lines.index("#   data_semantic_synthesis:")
    taken = [
        line[2:] if line.startswith(("#   axial", "#   data_")) or (n > at and line.startswith("#    ")) else line
        for n, line in enumerate(lines)
    ]
    file.write_text("\n".join(taken))
    assert set(load_run([file]).studies) == {"data_segmentation", "data_semantic_synthesis"}


def test_bones_give_a_threshold_and_many_structures_an_image_and_a_choice(tmp_path):
    raw(
        tmp_path / "data",
        {f"rib_{side}_{n}": 2 * n + k + 1 for n in range(6) for k, side in enumerate(("left", "right"))},
    )
    made = new_project(tmp_path / "project", "nnunet", tmp_path / "data", Options())
    assert made.studies == ["data_segmentation", "data_semantic_synthesis"]
    study = configuration(tmp_path / "project")["studies"]["data_segmentation"]
    assert list(study["arms"]) == ["mean_labels", "threshold_components", "volforge"]
    assert len(study["structures"]) == 8


def test_both_bones_of_a_joint_give_negative_volumes_and_their_groups(tmp_path):
    bones = ("condyle_left", "condyle_right", "temporal_bone_left", "temporal_bone_right")
    raw(tmp_path / "data", {name: n + 1 for n, name in enumerate(bones)})
    made = new_project(tmp_path / "project", "nnunet", tmp_path / "data", Options())
    assert "data_negative_volume" in made.studies
    groups = {s.structure: s.group for s in load_run([tmp_path / "project/config.yaml"]).cohorts["data"].structures}
    assert groups == {name: name.rsplit("_", 1)[0] for name in bones}


def test_a_mandible_and_a_skull_give_derived_joints(tmp_path):
    raw(tmp_path / "data", {"mandible_left": 1, "mandible_right": 2, "skull": 3})
    made = new_project(tmp_path / "project", "nnunet", tmp_path / "data", Options())
    assert "data_negative_volume" in made.studies
    joint = configuration(tmp_path / "project")["studies"]["data_negative_volume"]["joint"]
    assert joint["derive"] == {"mandible": "mandible", "skull": "skull"}


def test_mr_and_ct_of_a_frame_give_translation(tmp_path):
    for n in range(4):
        for name in ("mr", "ct", "mask"):
            volume(tmp_path / f"data/Task1/brain/1BA00{n}/{name}.nii.gz", value=1 if name == "mask" else 40)
    made = new_project(tmp_path / "project", "synthrad2023", tmp_path / "data", Options())
    assert made.studies == ["data_translation"]
    study = configuration(tmp_path / "project")["studies"]["data_translation"]
    assert study["source"]["modality"] == "MR"
    assert study["arms"]["volforge"]["models"]["axial"]["translation"]["method"] == "painted"
    recipe = configuration(tmp_path / "project")["recipes"]["axial"]
    assert recipe["size"][0] * recipe["spacing_mm"] >= 200  # 20 voxels of 10 mm along A, 16 along R
    assert recipe["size"][1] * recipe["spacing_mm"] >= 160


def test_holes_give_implants(tmp_path):
    trees.touch(
        tmp_path / "data",
        [f"training_set/{k}/{n:03d}.nrrd" for k in ("complete_skull", "defective_skull", "implant") for n in range(4)],
    )
    made = new_project(tmp_path / "project", "skullfix", tmp_path / "data", Options())
    assert made.studies == ["data_implant"]
    assert any("could not be read" in remark for remark in made.remarks)  # the files of this tree are empty


@pytest.mark.parametrize(("spacing", "is_crop"), [(2.0, True), (10.0, False)])
def test_crops_are_all_body(tmp_path, spacing, is_crop):
    raw(tmp_path / "data", {"a": 1}, channels=("T1",), spacing=spacing)
    assert (20 * spacing < CROP_MM) == is_crop
    new_project(tmp_path / "project", "nnunet", tmp_path / "data", Options())
    cohort = configuration(tmp_path / "project")["cohorts"]["data"]
    assert (cohort.get("body_mask") == {"method": "none"}) == is_crop


def test_the_folder_that_one_stands_in_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VolforgeError, match="the folder that you stand in"):
        new_template(Path())
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    raw(tmp_path / "data", {"a": 1})
    (tmp_path / "project").mkdir()
    new_project(tmp_path / "project", "nnunet", tmp_path / "data", Options())  # an empty one is taken
    before = {p: p.read_bytes() for p in (tmp_path / "project").iterdir()}
    for again in (lambda f: new_project(f, "nnunet", tmp_path / "data", Options()), new_template):
        with pytest.raises(VolforgeError, match="holds files already"):
            again(tmp_path / "project")
    assert {p: p.read_bytes() for p in (tmp_path / "project").iterdir()} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(VolforgeError, match="this is a file"):
        new_template(tmp_path / "file")


@pytest.mark.parametrize(
    "arguments", [("--layout", "msd", "data"), ("--layout", "none", "data"), ("data",), ("--layout", "msd")]
)
def test_what_cannot_be_made_leaves_nothing(tmp_path, arguments):
    raw(tmp_path / "data", {"a": 1})
    (tmp_path / "data/dataset.json").unlink()
    for file in (tmp_path / "data/imagesTr").iterdir():
        file.rename(file.with_name(f"x{file.name[4:]}"))
    done = volforge("new", "above/project", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "remedy" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_lists_of_dicom_series_are_found_from_the_project(tmp_path):
    for name in ("a", "b"):  # two series in one folder
        write_series(tmp_path / name, phantom(), series=name)
        for file in (tmp_path / name).iterdir():
            (tmp_path / "data").mkdir(exist_ok=True)
            file.rename(tmp_path / "data" / f"{name}-{file.name}")
    new_project(tmp_path / "project", "dicom", tmp_path / "data", Options())
    run = load_run([tmp_path / "project/config.yaml"])
    assert errors_of(run.problems) == []
    for row in run.cohorts["data"].rows.values():
        listed = tmp_path / "project" / "data.files"
        assert row.files["image"].startswith(str(listed))
        assert read_canonical(Path(row.files["image"]), labels=False)[0].shape == phantom().shape


def test_a_template_asks_for_rows_and_then_runs(tmp_path):
    made = volforge("new", "project", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.rstrip().endswith("cd project && volforge validate && volforge run")
    project = tmp_path / "project"
    assert "phantom" not in (project / "config.yaml").read_text()
    empty = volforge("validate", cwd=project)
    assert empty.returncode == 1
    assert "scans.tsv: the table has no row" in empty.stderr
    for n in range(4):
        volume(project / f"{n}.nii.gz")
    rows = "".join(f"p{n}\tp{n}\tCT\t\t{n}.nii.gz\t{n}.nii.gz\tderived\n" for n in range(4))
    with (project / "scans.tsv").open("a") as file:
        file.write(rows)
    (project / "scans.structures.tsv").write_text("structure\tid\tside\nkidney_left\t1\tleft\n")
    text = (project / "config.yaml").read_text()
    at = text.index("# studies:")
    (project / "config.yaml").write_text(text[:at] + text[at:].replace("\n# ", "\n")[2:])
    checked = volforge("validate", cwd=project)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == "config.yaml: 1 cohorts, 4 scans, 1 studies, no error\n"


def test_the_command_says_what_it_found_and_what_not(tmp_path):
    raw(tmp_path / "data", {"a": 1})
    done = volforge("new", "sub/project", "--layout", "nnunet", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 scans of 4 subjects, 4 with labels" in done.stdout
    assert "study data_segmentation" in done.stdout
    assert "no implant: it takes the columns `defective` and `implant`" in done.stdout
    assert done.stdout.rstrip().endswith("cd sub/project && volforge run")
    assert json.dumps(str(tmp_path / "data")) in (tmp_path / "sub/project/config.yaml").read_text()
