"""Numbers and names that YAML reads otherwise than people mean: the right value, or words with a place."""

import pytest

from volforge.workflow.configuration import Configuration
from volforge.workflow.load import load_configuration
from volforge.workflow.run import resolve

TEXT = """cohorts:
  {cohort}: {{sheet: s.tsv, folds: {folds}, licence: {licence}}}
studies:
  organs:
    task: segmentation
    cohort: mine
    structures: [{structure}]
    arms:
      ours:
        models:
          all:
            recipe: whole
            network: unet3d
            loss: {{name: dice_ce, smooth: {smooth}}}
            training: {{steps: {steps}, rate: {rate}, clip: {clip}}}
recipes:
  whole: {{kind: region, ct_window: {{kind: hu, low: {low}}}}}
"""
DEFAULTS = {
    "cohort": "mine", "folds": "2", "licence": "CC0", "structure": "a", "smooth": "0.1", "steps": "20",
    "rate": "0.001", "clip": "1", "low": "-1000",
}  # fmt: skip


def load(tmp_path, **cells: str):
    file = tmp_path / "c.yaml"
    file.write_text(TEXT.format_map(DEFAULTS | cells), encoding="utf-8")
    return load_configuration([file])


def model(configuration: Configuration | None):
    assert configuration is not None
    return configuration.studies["organs"].arms["ours"].models["all"]


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.e-4", "1.0e-4", ".1e-3", "'0.0001'", "+1e-4", "1_0e-5"])
def test_a_rate_is_the_number_that_it_looks_like(tmp_path, text):
    assert model(load(tmp_path, rate=text).configuration).training.rate == pytest.approx(1e-4)


@pytest.mark.parametrize("text", ["2000", "2e3", "2.0e3", "2_000", "'2000'", "2000.0", "0x7D0"])
def test_steps_are_the_number_that_they_look_like(tmp_path, text):
    assert model(load(tmp_path, steps=text).configuration).training.steps == 2000


def test_keywords_of_a_loss_hold_numbers_too(tmp_path):
    assert model(load(tmp_path, smooth="1e-4").configuration).loss.keywords == {"smooth": 1e-4}


def test_a_leading_zero_that_changes_nothing_is_accepted(tmp_path):
    configuration = load(tmp_path, folds="07").configuration
    assert configuration is not None
    assert configuration.cohorts["mine"].folds == 7


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"cohort": "no"}, ":2:3: the key no is read as a truth value|put it in quotes: 'no'"),
        ({"cohort": "On"}, ":2:3: the key On is read as a truth value|put it in quotes"),
        ({"cohort": "null"}, ":2:3: the key null is read as nothing|put it in quotes"),
        ({"cohort": "~"}, ":2:3: the key ~ is read as nothing|names begin with a letter"),
        ({"cohort": "1"}, ":2:3: the key 1 is read as a number|names begin with a letter"),
        ({"cohort": "1.5"}, ":2:3: the key 1.5 is read as a number|names begin with a letter"),
        ({"cohort": "2024-01-01"}, ":2:3: the key 2024-01-01 is read as a date|names begin with a letter"),
        ({"cohort": "2024-13-45"}, ":2:3: the key 2024-13-45 is read as a date|names begin with a letter"),
        ({"cohort": "'1'"}, "names are lower-case letters, digits and _|rename it"),
        ({"cohort": "' mine'"}, "names are lower-case letters, digits and _|rename it"),
        ({"cohort": '"mine\\u200b"'}, "names are lower-case letters, digits and _|rename it"),
        ({"steps": "0100"}, ":15:31: 0100 is read in base 8, as 64|without the leading 0"),
        ({"steps": "1:30"}, ":15:31: 1:30 is read in base 60, as 90|write the number"),
        ({"rate": "0,001"}, "the key 001 is read as a number|a decimal comma before it must be a point"),
        ({"rate": "'0,001'"}, "training.rate:|write a point: 0.001"),
        ({"rate": "1e\u22124"}, "training.rate:|write the plain minus of the keyboard"),
        ({"steps": "20 000"}, "training.steps:|write 20000: thousands are not parted"),
        ({"rate": "1%"}, "training.rate:|write 0.01 for 1%"),
        ({"rate": "yes"}, "training.rate:|truth values: write a number"),
        ({"steps": "true"}, "training.steps:|truth values: write a number"),
        ({"steps": "2.5"}, "training.steps:|write a number such as 20"),
        ({"steps": "2.5e0"}, "training.steps:|write a number such as 20"),
        ({"rate": ".nan"}, "training.rate:|"),
        ({"clip": ".inf"}, "training.clip: Input should be a finite number|"),
        ({"low": "nan"}, "ct_window.low: Input should be a finite number|"),
        ({"smooth": ".nan"}, "smooth is not a finite number|"),
        ({"structure": "no"}, "studies.organs.structures.0: text is needed, and no is read|put it in quotes: 'no'"),
        ({"licence": "2024-01-01"}, "cohorts.mine.licence: text is needed|put it in quotes: '2024-01-01'"),
        ({"licence": "2024-13-45"}, "2024-13-45 looks like a date and is none|put it in quotes"),
        ({"licence": "12:30"}, "12:30 is read in base 60, as 750|put it in quotes if it is text"),
    ],
)
def test_what_is_misread_has_words_place_and_remedy(tmp_path, cells, words):
    loaded = load(tmp_path, **cells)
    assert loaded.configuration is None
    text = "\n".join(map(str, loaded.problems))
    for part in words.split("|"):
        assert part in text
    assert text.startswith(f"error: {tmp_path / 'c.yaml'}:")
    resolve([tmp_path / "c.yaml"])  # its checks of sheets go on with what is there


def test_keys_of_other_kinds_from_the_command_line_are_words_too(tmp_path):
    loaded, _, _ = resolve(
        [], {"cohorts": {False: {"sheet": "s.tsv"}, "a": {"sheet": "s.tsv", "recipes": ["x"]}}, "recipes": {1: {}}}
    )
    assert any("cohorts" in str(p) for p in loaded.problems)


def test_an_anchor_that_holds_itself_is_named(tmp_path):
    (tmp_path / "c.yaml").write_text("cohorts: &a\n  x: *a\n")
    assert "c.yaml:1:10: the anchor stands within what it names" in str(
        load_configuration([tmp_path / "c.yaml"]).problems[0]
    )


def test_a_structure_that_stands_twice_is_named(tmp_path):
    loaded = load(tmp_path, structure="a, b, a")
    assert "studies.organs.structures: 'a' stands twice" in str(loaded.problems[0])
