"""Names that look alike: characters that nobody sees, and what is left of a name when looks alone count."""

from __future__ import annotations

import unicodedata

# drawn as nothing or as a blank, though their category is a letter, a mark or a symbol
# (Default_Ignorable_Code_Point of the Unicode character database, and the empty braille cell)
UNSEEN = frozenset(
    [
        0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0,
        *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
    ]
)  # fmt: skip
CATEGORIES = ("Cc", "Cf", "Zl", "Zp")  # control, format, ends of lines and of paragraphs
CONTROLS = {"\t": "TABULATOR", "\n": "LINE FEED", "\r": "CARRIAGE RETURN", "\x0b": "LINE TABULATION",
            "\x0c": "FORM FEED", "\x85": "NEXT LINE"}  # fmt: skip

# letters of other scripts that are drawn as Latin ones (after Unicode's confusables.txt), and typeset signs
TWINS = str.maketrans(
    "АВЕЗКМНОРСТУХЅІЈаеорсухѕіјԁһΑΒΕΖΗΙΚΜΝΟΡΤΥΧοʼ’‘‛′−＿",
    "ABE3KMHOPCTYXSIJaeopcyxsijdhABEZHIKMNOPTYXo'''''-_",
)


def unseen(text: str) -> str:
    """The first character of a text that nobody sees, by code point and name; empty where there is none."""
    for character in text:
        if unicodedata.category(character) in CATEGORIES or ord(character) in UNSEEN:
            name = CONTROLS.get(character) or unicodedata.name(character, "a control character")
            return f"U+{ord(character):04X} {name}"
    return ""


def looks_of(text: str) -> str:
    """What a name looks like: two names with equal looks cannot be told apart on paper.

    Compatible forms are one (NFKC: full width, ligatures, how accents are encoded), dashes are one, letters of other
    scripts that are drawn alike are one, runs of any blanks are one blank, and what nobody sees is gone.
    """
    seen = "".join(c for c in unicodedata.normalize("NFKC", text) if c.isspace() or not unseen(c)).translate(TWINS)
    dashed = "".join("-" if unicodedata.category(c) == "Pd" else c for c in seen)
    return " ".join(unicodedata.normalize("NFC", dashed).split())


def spelt(text: str) -> str:
    """A name with its odd characters as codes, so that two that look alike differ on the screen."""
    return ascii(text) if not text.isascii() or unseen(text) else repr(text)
