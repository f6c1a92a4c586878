"""The report: one page that holds everything it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volforge.pages.parts import environment, turning_library
from volforge.pages.store import FEWEST_ROWS, Store, squeezed
from volforge.report.cohort_view import view_cohort
from volforge.report.formats import SIDES_HEAD
from volforge.report.overview_words import in_sum
from volforge.report.provenance import provenance
from volforge.report.study_view import views as study_views
from volforge.volume.folders import write_json
from volforge.whole_file import write_whole


def write_report(
    results: Path,
    out: Path,
    provenance_file: Path,
    request: Mapping[str, Any],
    left: Mapping[str, Mapping[str, str]] | None = None,
    ran: str = "",
) -> None:
    """Write the report page and the provenance of a run.

    Args:
        results: Folder of results.
        out: Page to write.
        provenance_file: JSON to write.
        request: Content that `volforge.workflow.jobs.report_settings` makes.
        left: What a run that ended with failures did not make (`cohorts`, `recipes`, `studies`: name to reason). The
            page then says so, and has no provenance: an old one is removed.
        ran: How long the run took and what failed in it, in words.
    """
    import yaml

    configuration = request["configuration"]
    settings = request["report"]
    views = [
        view_cohort(results, name, entry, configuration, settings["pictures_per_cohort"], left)
        for name, entry in request["cohorts"].items()
    ]
    studies, published = study_views(results, request, left["studies"] if left else {})
    origin = provenance(configuration, {v.name: [r["sha256"] for r in v.rows] for v in views})
    store = Store()
    pages = environment(Path(__file__).parent / "templates")
    pages.filters |= {"kept": store.picture, "kept_text": store.text, "kept_rows": store.rows}
    page = pages.get_template("page.html").render(
        title=settings["title"],
        cohorts=views,
        studies=studies,
        published=published,
        not_run=dict(left["studies"]) if left else {},
        is_complete=left is None,
        excluded=sum(len(v.excluded) for v in views),
        excluded_rows=[[v.name, r["scan"], r["subject"], r["reason"]] for v in views for r in v.excluded],
        phantoms=[name for name, entry in request["cohorts"].items() if entry.get("phantom")],
        in_sum=in_sum([o for s in studies if s.headline for o in s.headline["outcomes"]]),
        ran=ran or ("ended with failures" if left else "complete"),
        configuration=yaml.safe_dump(json.loads(json.dumps(configuration)), sort_keys=False, allow_unicode=True),
        origin=origin,
        sides_head=SIDES_HEAD,
        plotly=squeezed(turning_library()) if any(s.has_views for s in studies) else "",
        fewest_rows=FEWEST_ROWS,
        kept=store.content,
    )
    if left is None:
        write_json(provenance_file, origin)
    else:
        provenance_file.unlink(missing_ok=True)
    write_whole(out, page)
