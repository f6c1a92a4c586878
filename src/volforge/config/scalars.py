"""Scalars that YAML reads otherwise than people mean: `no`, `010`, `1:30`, `2024-01-01`, `1e-4`.

Snakemake reads configurations by the rules of YAML 1.1 (PyYAML). What it would misread is named before it is used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

READ_AS = {"bool": "a truth value", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}
LONGEST = 4000  # characters of a value; paths have fewer
INNER = re.compile(r"(?<![\w.])[~/][^\s'\"=:]*/(?=[^/\s])")  # a place within words, up to its last name
LAST = re.compile(r"[/\\]")
EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def kind_of(node: yaml.Node) -> str:
    """What YAML takes an unquoted scalar for: a key of `READ_AS`, empty for text and all else."""
    import yaml  # late: jobs read settings as JSON

    kind = node.tag.rpartition(":")[2] if isinstance(node, yaml.ScalarNode) else ""
    return kind if kind in READ_AS else ""


def misread_key(node: yaml.Node) -> tuple[str, str] | None:
    """What is wrong with a key, and what to do; None where it is text, as keys must be."""
    kind, unfit = kind_of(node), _unfit(node)
    if unfit or not kind:
        return unfit
    text = str(node.value)
    if kind in ("int", "float"):
        remedy = "names begin with a letter; a decimal comma before it must be a point"
    else:
        remedy = f"put it in quotes: '{text}'" if text[:1].isalpha() else "names begin with a letter: choose another"
    return f"the key {text or '(empty)'} is read as {READ_AS[kind]}", remedy


def misread_value(node: yaml.Node) -> tuple[str, str] | None:
    """What is wrong with a value, and what to do; None where it is read as it looks."""
    import yaml

    kind, unfit = kind_of(node), _unfit(node)
    if unfit or kind not in ("int", "float", "timestamp"):
        return unfit
    text = str(node.value)
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except ValueError as error:
        return f"{text} looks like {READ_AS[kind]} and is none: {error}", f"put it in quotes if it is text: '{text}'"
    if kind != "timestamp" and ":" in text:
        return (
            f"{text} is read in base 60, as {value:g}",
            f"write the number, or put it in quotes if it is text: '{text}'",
        )
    if re.fullmatch(r"[-+]?0[0-9_]+", text) and int(text.replace("_", "")) != value:
        return f"{text} is read in base 8, as {value}", f"write it without the leading 0, or as text: '{text}'"
    return None


def _unfit(node: yaml.Node) -> tuple[str, str] | None:
    """What is wrong with a text that no file, name or table can hold; longer ones than any path are none either."""
    import yaml

    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        return "the text holds a zero byte or half of a character", "type it anew"
    if len(text) > LONGEST:
        return f"the text has {len(text):,} characters, and at most {LONGEST:,} are taken", "shorten it"
    return None


def with_number(value: Any) -> Any:
    """Text in the form of `1e-4` as the number that it means: YAML 1.1 asks for a point before the e."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def without_places(value: Any, key: str = "") -> Any:
    """A configuration whose absolute paths are cut to their last name, and that of a cohort's `root` to nothing.

    Results say what was run, not where the data lie; a folder of data may be called after a patient or a hospital.
    """
    if isinstance(value, dict):
        return {k: without_places(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(v, key) for v in value]
    if isinstance(value, str) and (value.startswith(("/", "~", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", value)):
        return "..." if key == "root" else f".../{LAST.split(value.rstrip('/'))[-1]}"
    if isinstance(value, str):  # within words: an option of a command
        return INNER.sub(".../", value)
    return value


def why_no_number(text: str) -> str:
    """What to do about a text where a number is needed."""
    percent = re.fullmatch(r"([-+]?\d+(?:\.\d+)?) ?%", text)
    if percent:
        return f"write {float(percent[1]) / 100:g} for {text}"
    if re.fullmatch(r"[-+]?\d+,\d+", text):
        return f"write a point: {text.replace(',', '.')}; thousands are not parted"
    if re.fullmatch(r"\d{1,3}(?: \d{3})+", text):
        return f"write {text.replace(' ', '')}: thousands are not parted"
    if any(dash in text for dash in "\u2212\u2013\u2010\u2011"):
        return "write the plain minus of the keyboard"
    if text in ("True", "False"):
        return "yes, no, on, off, true and false are truth values: write a number"
    return "write a number such as 20, 0.001 or 1.0e-3"
