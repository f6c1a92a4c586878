"""The help of every command: what it does, an example that it would take, and the unit of each length, value and time."""

import inspect
import re
import shlex
import typing
from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

from volforge.cli import NOUNS, app

UNITS = re.compile(r"\b(mm|mm2|mm3|cm3|HU|[Mm]inutes|[Ss]econds|percent|voxels|[Ss]hare|percentiles?)\b")
NAMED = {
    "mm": r"\bmm\b",
    "mm2": r"\bmm2\b",
    "cm3": r"\bcm3\b",
    "hu": r"\bHU\b",
    "seconds": r"\b[Ss]econds\b",
    "minutes": r"\bminutes\b",
}


def commands():
    """(words, command) of every command."""
    for noun in NOUNS:
        found = typer.main.get_command(import_module(f"volforge.cli.{noun}").app)
        children = getattr(found, "commands", None)
        if children is None:
            yield (noun,), found
        else:
            yield from (((noun, verb), child) for verb, child in children.items())


COMMANDS = dict(commands())


def examples(command):
    text = inspect.cleandoc(command.callback.__doc__ or "").replace("\\\n", " ")
    return [" ".join(e.split()) for e in re.findall(r"^Example: (.+?)(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_has_an_example_that_it_takes(words, tmp_path, monkeypatch):
    """Names, options and values of the example are read as the command line reads them; nothing is called."""
    monkeypatch.chdir(tmp_path)
    command, found = COMMANDS[words], examples(COMMANDS[words])
    assert found, words
    for example in found:
        first, *given = shlex.split(example)
        assert [first, *given[: len(words)]] == ["volforge", *words]
        with command.make_context(words[-1], given[len(words) :]) as context:
            assert context.params is not None


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_says_what_it_does_and_each_option_what_it_means(words):
    command = COMMANDS[words]
    first = inspect.cleandoc(command.callback.__doc__).split("\n\n")[0]
    assert re.match(r"[A-Z].+\.$", first, re.DOTALL), first
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), (words, parameter.name)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_numbers_have_units(words):
    hints = typing.get_type_hints(COMMANDS[words].callback)
    for parameter in COMMANDS[words].params:
        help_text = getattr(parameter, "help", None) or ""
        last = parameter.name.rsplit("_", 1)[-1]
        if last in NAMED:
            assert re.search(NAMED[last], help_text), (words, parameter.name, help_text)
        elif "float" in str(hints.get(parameter.name, "")):
            assert UNITS.search(help_text), (words, parameter.name, help_text)


def test_the_list_of_commands_says_what_each_is_for():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "150"})
    assert shown.exit_code == 0
    for noun, sentence in NOUNS.items():
        assert re.search(rf"{noun} +{re.escape(sentence[:40])}", shown.output), noun
