"""A study's table as TSV, Markdown, LaTeX and JSON: the same bytes for the same measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from volforge.cohort.collect import as_tsv
from volforge.metrics.measure import number, unit_of
from volforge.metrics.statistics import PairedTest
from volforge.report.published import PublishedNumber
from volforge.report.sides import SidesRow
from volforge.report.table import Cell, StudyTable, TableRow

TSV_COLUMNS = (
    "study", "label_source", "structure", "measure", "unit", "arm", "kind", "n", "n_of", "failures", "mean", "sd",
    "median", "q25", "q75", "ci_low", "ci_high", "best", "loses_to", "p_vs_best", "p_vs_best_holm", "pairs",
    "smallest_p", "published", "published_spread", "published_source", "published_caveat",
)  # fmt: skip
OTHER_DATA = "Published numbers: other data, other size"
SIDES_HEAD = ("structure", "measure", "arm", "subjects", "left − right", "SD", "limits of agreement", "p (Wilcoxon)")
BLANK = "–"


def shown(value: float, measure: str = "") -> str:
    """A value for people: three decimals for shares, three digits else."""
    if math.isnan(value):
        return BLANK
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value and abs(value) < 0.0005:
        return f"{value:.1e}"
    if abs(value) < 10:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"


def shown_p(p: float | None) -> str:
    """A p value for people."""
    if p is None:
        return BLANK
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def table_tsv(table: StudyTable) -> str:
    """One line per row and arm, every statistic."""
    lines = []
    for r in table.rows:
        for arm, cell in r.cells.items():
            test = r.test(arm, r.best) if r.best else None
            s, p = cell.summary, cell.published
            lines.append(
                {
                    "study": table.study,
                    "label_source": r.label_source,
                    "structure": r.structure,
                    "measure": r.measure,
                    "unit": r.unit,
                    "arm": arm,
                    "kind": table.arms[arm],
                    "n": cell.images or s.n,
                    "n_of": "images" if cell.images else "subjects",
                    "failures": cell.failures,
                    **{k: number(getattr(s, k)) for k in ("mean", "sd", "median", "q25", "q75", "ci_low", "ci_high")},
                    "best": int(cell.is_best),
                    "loses_to": cell.loses_to,
                    "p_vs_best": "" if test is None or test.p is None else number(test.p),
                    "p_vs_best_holm": "" if test is None or test.p_holm is None else number(test.p_holm),
                    "pairs": "" if test is None else test.pairs,
                    "smallest_p": "" if test is None or test.p is None else number(test.smallest_p),
                    "published": "" if p is None else number(p.value),
                    "published_spread": "" if p is None or p.spread is None else number(p.spread),
                    "published_source": "" if p is None else p.source,
                    "published_caveat": "" if p is None else p.caveat,
                }
            )
    return as_tsv(TSV_COLUMNS, lines)


def main_cell(cell: Cell | None) -> str:
    """Mean ± SD with failures and the mark of a lost baseline."""
    if cell is None:
        return BLANK
    text = shown(cell.summary.mean)
    if not math.isnan(cell.summary.sd):
        text += f" ± {shown(cell.summary.sd)}"
    if cell.failures:
        text += f" ({cell.failures} failed)"
    return text + (" †" if cell.loses_to else "")


def table_markdown(table: StudyTable) -> str:
    """The table for people: means, then all statistics, tests, published numbers, notes."""
    lines = [
        f"# {table.study}",
        "",
        f"Task {table.task}, cohort {table.cohort}. Mean ± SD; the best of a row is bold.",
        "",
    ]
    for source in dict.fromkeys(r.label_source for r in table.rows):
        rows = [r for r in table.rows if r.label_source == source]
        if source:
            lines += [f"Labels of the reference: {source}.", ""]
        with_published = any(c.published for r in rows for c in r.cells.values())
        arms = [table.heading(a) for a in table.arms]
        head = ["structure", "measure", "unit", "n", *arms, *(["published"] if with_published else [])]
        lines += _markdown_head(head)
        for r in rows:
            cells = [_marked(r.cells.get(a), main_cell(r.cells.get(a))) for a in table.arms]
            published = [_published_cells(r)] if with_published else []
            lines.append(_markdown_line([r.structure, r.measure, r.unit, _n(r), *cells, *published]))
        lines.append("")
    lines += ["## All statistics", ""]
    lines += _markdown_head(["structure", "measure", "arm", "n", "failures", "median", "IQR", "95 % CI of the mean"])
    for r in table.rows:
        for arm, cell in r.cells.items():
            s = cell.summary
            lines.append(
                _markdown_line(
                    [r.structure, r.measure, arm, str(cell.images or s.n), str(cell.failures), shown(s.median),
                     f"{shown(s.q25)} to {shown(s.q75)}", f"{shown(s.ci_low)} to {shown(s.ci_high)}"]
                )
            )  # fmt: skip
    made = [(r, t) for r in table.rows for t in r.tests if t.p is not None]
    if made:
        lines += ["", "## Tests", ""]
        lines += _markdown_head(["structure", "measure", "arms", "pairs", "p", "p (Holm)", "smallest p"])
        lines += [_markdown_line(test_cells(r, t)) for r, t in made]
    if table.sides:
        lines += ["", "## Left against right", ""]
        lines += _markdown_head(SIDES_HEAD)
        lines += [_markdown_line(sides_cells(r)) for r in table.sides]
    beside = [c.published for r in table.rows for c in r.cells.values() if c.published]
    if beside or table.same_data:
        lines += ["", "## Published numbers: the same data", ""]
        lines += _markdown_head(["method", "structure", "measure", "value", "n", "source", "caveat"])
        for p in [*beside, *table.same_data]:
            n = "" if p.n is None else str(p.n)
            cells = [p.arm, p.structure, p.measure, published_value(p), n, p.source, p.caveat]
            lines.append(_markdown_line(cells))
    if table.published:
        lines += ["", f"## {OTHER_DATA}", ""]
        lines += [f"{n}" for n in table.published_notes] + ([""] if table.published_notes else [])
        places = source_numbers(table.published)
        lines += _markdown_head(["table", "method", "structure", "measure", "value", "n", "data", "source"])
        for p in table.published:
            value = published_value(p)
            n = "" if p.n is None else str(p.n)
            cells = [p.table, p.arm, p.structure, p.measure, value, n, p.cohort, str(places[p.source, p.caveat])]
            lines.append(_markdown_line(cells))
        lines += ["", *[f"{i}. {s} Caveat: {c}" if c else f"{i}. {s}" for (s, c), i in places.items()]]
    lines += ["", "## Notes", "", *[f"- {n}" for n in table.notes]]
    lines += [f"- {arm}: {note}" for arm, note in table.arm_notes.items()]
    lines += [f"- made from {name}, SHA-256 {digest}" for name, digest in table.made_from.items()]
    return "\n".join(lines) + "\n"


def published_value(p: PublishedNumber) -> str:
    """A published value with its spread."""
    return shown(p.value) + ("" if p.spread is None else f" ± {shown(p.spread)}")


def source_numbers(numbers: Sequence[PublishedNumber]) -> dict[tuple[str, str], int]:
    """A number for each source with its caveat, in order of appearance."""
    found: dict[tuple[str, str], int] = {}
    for p in numbers:
        found.setdefault((p.source, p.caveat), len(found) + 1)
    return found


def test_cells(r: TableRow, t: PairedTest) -> list[str]:
    """Cells of a line of tests."""
    return [
        r.structure,
        r.measure,
        f"{t.a} – {t.b}",
        str(t.pairs),
        shown_p(t.p),
        shown_p(t.p_holm),
        f"{t.smallest_p:.2g}",
    ]


def sides_cells(r: SidesRow) -> list[str]:
    """Cells of a line of left against right, as `SIDES_HEAD` names them."""
    a, unit = r.found, unit_of(r.measure)
    named = r.structure + (f" ({r.label_source})" if r.label_source else "")
    limits = f"{shown(a.low)} to {shown(a.high)}"
    return [named, f"{r.measure} [{unit}]", r.arm, str(a.n), shown(a.bias), shown(a.sd), limits, shown_p(a.p)]


def _n(r: TableRow) -> str:
    counts = sorted({c.images or c.summary.n for c in r.cells.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


def _published_cells(r: TableRow) -> str:
    return "; ".join(f"{a}: {published_value(c.published)}" for a, c in r.cells.items() if c.published)


def _marked(cell: Cell | None, text: str) -> str:
    return f"**{text}**" if cell is not None and cell.is_best else text


def _markdown_head(names: Sequence[str]) -> list[str]:
    return [_markdown_line(names), _markdown_line(["---"] * len(names))]


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def table_latex(table: StudyTable) -> str:
    """A `table` environment for a paper, and long tables of published numbers; needs booktabs and longtable."""
    arms = list(table.arms)
    with_published = any(c.published for r in table.rows for c in r.cells.values())
    width = 3 + len(arms) + with_published
    lines = ["% needs \\usepackage{booktabs,longtable}", "\\begin{table}", "\\centering", "\\small"]
    caption = f"{table.study}: task {table.task}, cohort {table.cohort}. Mean $\\pm$ SD, best of a row in bold. "
    lines += [f"\\caption{{{_tex(caption)}{_tex(' '.join(table.notes))}}}", f"\\label{{tab:{table.study}}}"]
    lines += [f"\\begin{{tabular}}{{ll{'r' * (width - 2)}}}", "\\toprule"]
    head = ["structure", "measure", "n", *map(table.heading, arms), *(["published"] if with_published else [])]
    lines += [" & ".join(_tex(h) for h in head) + " \\\\", "\\midrule"]
    before = None
    for r in table.rows:
        if before is not None and before != (r.label_source, r.structure):
            lines.append("\\addlinespace")
        before = (r.label_source, r.structure)
        unit = "" if r.unit == "1" else f" [{r.unit}]"
        cells = []
        for arm in arms:
            cell = r.cells.get(arm)
            text = _tex(main_cell(cell))
            cells.append(f"\\textbf{{{text}}}" if cell is not None and cell.is_best else text)
        published = [_tex(_published_cells(r))] if with_published else []
        names = [
            _tex(r.structure + (f" ({r.label_source})" if r.label_source else "")),
            _tex(r.measure + unit),
            _tex(_n(r)),
        ]
        lines.append(" & ".join("{}" + c for c in [*names, *cells, *published]) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    lines += _published_latex(table)
    return "\n".join(lines) + "\n"


def _published_latex(table: StudyTable) -> list[str]:
    """A long table, which may break over pages, and its sources below."""
    beside = [c.published for r in table.rows for c in r.cells.values() if c.published]
    blocks = [("Published numbers: the same data", [*beside, *table.same_data]), (OTHER_DATA, table.published)]
    lines: list[str] = []
    for title, numbers in blocks:
        if not numbers:
            continue
        places = source_numbers(numbers)
        wide = "p{0.26\\textwidth}p{0.13\\textwidth}p{0.2\\textwidth}rrp{0.16\\textwidth}r"
        lines += ["", "{\\scriptsize", f"\\begin{{longtable}}{{{wide}}}"]
        lines += [f"\\caption{{{_tex(title)}: {_tex(table.study)}.}} \\\\", "\\toprule"]
        lines += ["method & structure & measure & value & n & data & source \\\\", "\\endhead"]
        before = None
        for p in numbers:
            if p.table != before:
                lines += ["\\midrule", f"\\multicolumn{{7}}{{l}}{{\\textit{{{_tex(p.table)}}}}} \\\\"]
            before = p.table
            n = "" if p.n is None else str(p.n)
            cells = [p.arm, p.structure, p.measure, published_value(p), n, p.cohort, str(places[p.source, p.caveat])]
            lines.append(" & ".join("{}" + _tex(c).replace("\\_", "\\_\\allowbreak{}") for c in cells) + " \\\\")
        lines += ["\\bottomrule", "\\end{longtable}"]
        for (source, caveat), i in places.items():
            lines.append(f"\\noindent {i}. {_tex(f'{source} {caveat}'.strip())}\\par")
        lines.append("}")
    return lines


_TEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "†": "$\\dagger$", "‡": "$\\ddagger$",
    "–": "--",
    "∞": "$\\infty$", "é": "\\'e",
    "<": "$<$", ">": "$>$", "→": "$\\rightarrow$",
    "μ": "$\\mu$", "≈": "$\\approx$", "−": "$-$", "Δ": "$\\Delta$", "’": "'",
    "≥": "$\\geq$", "≤": "$\\leq$", "×": "$\\times$",
}  # fmt: skip


def _tex(text: str) -> str:
    """Text for LaTeX; what is already mathematics stays. Characters that pdflatex has no glyph for become `?`."""
    kept = "$\\pm$"
    return kept.join("".join(_TEX.get(c, c if ord(c) < 0x180 else "?") for c in part) for part in text.split(kept))


def table_json(table: StudyTable) -> dict[str, Any]:
    """Everything, for programs."""

    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    def cell(c: Cell) -> dict[str, Any]:
        s = c.summary
        values = {k: plain(getattr(s, k)) for k in ("mean", "sd", "median", "q25", "q75", "ci_low", "ci_high")}
        return {
            "n": c.images or s.n,
            "n_of": "images" if c.images else "subjects",
            "failures": c.failures,
            **values,
            "best": c.is_best,
            "loses_to": c.loses_to,
            "published": None if c.published is None else vars(c.published),
        }

    return {
        "study": table.study,
        "task": table.task,
        "cohort": table.cohort,
        "arms": table.arms,
        "arm_notes": table.arm_notes,
        "made_from": table.made_from,
        "notes": table.notes,
        "rows": [
            {
                "label_source": r.label_source,
                "structure": r.structure,
                "measure": r.measure,
                "unit": r.unit,
                "arms": {a: cell(c) for a, c in r.cells.items()},
                "tests": [
                    {"a": t.a, "b": t.b, "pairs": t.pairs, "p": t.p, "p_holm": t.p_holm, "smallest_p": t.smallest_p}
                    for t in r.tests
                ],
            }
            for r in table.rows
        ],
        "sides": [
            {
                "label_source": r.label_source,
                "structure": r.structure,
                "measure": r.measure,
                "unit": unit_of(r.measure),
                "arm": r.arm,
                "n": r.found.n,
                **{k: plain(getattr(r.found, k)) for k in ("bias", "sd", "low", "high")},
                "p": r.found.p,
            }
            for r in table.sides
        ],
        "published": [vars(p) for p in table.published],
        "published_same_data": [vars(p) for p in table.same_data],
        "published_notes": table.published_notes,
    }
