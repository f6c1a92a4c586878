"""Arguments of commands that are JSON or numbers: words for those that are none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError


def as_json(text: str, option: str) -> Any:
    """A JSON argument.

    Raises:
        VolforgeError: It is none.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise VolforgeError(f"{option} is not JSON: {error}", remedy="quote it for the shell") from error


def as_object(text: str, option: str, *keys: str) -> dict[str, Any]:
    """A JSON object with some keys.

    Raises:
        VolforgeError: It is none, or lacks a key.
    """
    content = as_json(text, option)
    missing = [k for k in keys if not isinstance(content, dict) or k not in content]
    if not isinstance(content, dict) or missing:
        shown = ", ".join(f'"{k}": ...' for k in keys)
        raise VolforgeError(f"not an object with {', '.join(keys) or 'keys'}", option, f"write {{{shown}}}")
    return content


def as_words(text: str, option: str) -> list[str]:
    """A JSON list of words: a program with its arguments.

    Raises:
        VolforgeError: It is none.
    """
    content = as_json(text, option)
    if not isinstance(content, list) or not all(isinstance(w, str) for w in content):
        raise VolforgeError("not a list of words", option, 'write ["program", "argument"]')
    return content


def as_ids(text: str, option: str) -> list[int]:
    """A JSON list of ids.

    Raises:
        VolforgeError: It is none.
    """
    content = as_json(text, option)
    if not isinstance(content, list) or not all(type(i) is int and i > 0 for i in content):
        raise VolforgeError("not a list of ids", option, "write [1, 2]; 0 is background")
    return content


def as_numbers(text: str, option: str, count: int) -> list[float]:
    """Numbers with commas between them.

    Raises:
        VolforgeError: They are none, not finite, or not `count`.
    """
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(map(isfinite, found)):
        named = {2: "two", 3: "three"}.get(count, str(count))
        shown = ",".join(map(str, range(1, count + 1)))
        raise VolforgeError(f"not {named} numbers: {text!r}", option, f"write {option} {shown}")
    return found


def named_folders(words: Sequence[str], option: str) -> dict[str, Path]:
    """Folders of models from `NAME=FOLDER`.

    Raises:
        VolforgeError: A word is none.
    """
    found = {}
    for word in words:
        name, separator, folder = word.partition("=")
        if not separator:
            raise VolforgeError(f"'{word}' is not NAME=FOLDER", option, f"write {option} joint=path/of/the/model")
        found[name] = Path(folder)
    return found
