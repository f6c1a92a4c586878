# The page that a run ends with.


rule write_report_settings:
    """What the report reads of the configuration, as a file."""
    output:
        "results/report.json",
    log:
        "logs/write_report_settings.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        settings=lambda wildcards: jobs.report_settings(RUN),
    shell:
        "printf '%s\\n' {params.settings:q} > {output:q} 2> {log:q}"


rule report:
    """One self-contained page of the run, and its provenance."""
    input:
        settings="results/report.json",
        scans=targets.scan_tables(RUN),
        indices=jobs.indices(RUN),
        tables=targets.of_studies(RUN, "table.json"),
        figures=targets.of_studies(RUN, "figures/figures.json"),
        cases=targets.of_parts(RUN, "cases/cases.tsv"),
    output:
        page=report("results/report.html", category="Page"),
        provenance="results/provenance.json",
    log:
        "logs/report.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing_with_measures(2000, 500),
        runtime=growing_with_measures(20, 10_000),
        failure_key=failure_key_with(lambda wildcards: RUN.published),
    params:
        results=output_folder,
        templates=jobs.report_templates(),
        published=lambda wildcards: jobs.file_stamps(RUN.published),
        code=code_hash("volforge.cli.study:report"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge study report --results {params.results:q} --out {output.page:q} "
        "--provenance {output.provenance:q} --settings {input.settings:q} > {log:q} 2>&1"


rule write_crate:
    """The run as a research object: every file of the results with its hash. It follows the page, which need not wait."""
    input:
        settings="results/report.json",
        page=rules.report.output.page,
        provenance=rules.report.output.provenance,
    output:
        "results/ro-crate-metadata.json",
    log:
        "logs/write_crate.log",
    conda:
        "../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=growing(1000),
        runtime=growing_minutes(20 + number_of_scans() // 20),  # all files are read
        failure_key=failure_key,
    params:
        results=output_folder,
        code=code_hash("volforge.cli.study:crate"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge study crate {params.results:q} --settings {input.settings:q} "
        "--provenance {input.provenance:q} > {log:q} 2>&1"


onstart:
    fail_once.end_attempts(workflow.scheduler)
    # `exclude` says that the others go on, also where a cohort has lost all its scans
    if any(c.settings.on_bad_scan == "exclude" for c in RUN.cohorts.values()):
        workflow.scheduler.keepgoing = True


onerror:
    # Ctrl-C leaves jobs that count as running: then nobody waits for a page
    is_ended = workflow.is_main_process and not workflow.scheduler.running
    left = jobs_left() if is_ended else []
    failed = {job.rule for job in left if job.is_failed} - {"report"}
    # not for a target without a page
    if failed and any(job.rule == "report" for job in left):
        logger.error(page_so_far(RUN, left))
