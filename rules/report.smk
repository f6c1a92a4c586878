# The page that a run ends with.


rule report:
    """One self-contained page of the run, and its provenance."""
    input:
        scans=all_scan_tables(),
        indices=all_indices(),
    output:
        page="results/report.html",
        provenance="results/provenance.json",
    log:
        "logs/report.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        request=report_request,
        results="results",
        code=code_hash("volforge.cli.study:report"),
    shell:
        "volforge study report --results {params.results:q} --out {output.page:q} "
        "--provenance {output.provenance:q} --request {params.request:q} > {log:q} 2>&1"
