"""docs/what-went-wrong.md quotes messages that the code has."""

import ast
import re
from functools import cache

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs/what-went-wrong.md"
VARIES = "\0"
pytestmark = pytest.mark.xdist_group("messages")  # the code is read once


@cache
def templates() -> list[str]:
    """Every text of the code, with a mark where a value is put in."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else VARIES for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def quoted() -> list[str]:
    """The first cell of every row of the tables, and the message that the text quotes."""
    text = PAGE.read_text()
    return re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE) + re.findall(r"ends the run \(`(.+?)`\)", text)


def test_there_are_twenty():
    assert len(re.findall(r"^\| `", PAGE.read_text(), re.MULTILINE)) == 20
    assert len(quoted()) == 21


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_code(message):
    pieces = [re.escape(piece) for piece in re.split(r"\.\.\.", message)]
    wanted = re.compile(".*".join(pieces).strip(), re.DOTALL)
    # what stands between two pieces is a value: the text of the code has its mark there
    hits = [t for t in templates() if wanted.search(t)]
    assert hits, message
    between = [i for i, piece in enumerate(pieces[:-1]) if piece and pieces[i + 1]]
    assert not between or any(t.count(VARIES) >= len(between) for t in hits), message
