# Sample sheets to canonical scans: image, labels, body mask, QC picture, record; then one table per cohort.


rule make_phantoms:
    """Draw the scans of a phantom cohort; its sheet points into this folder."""
    output:
        "results/phantoms/{cohort}/truth.json",
    log:
        "logs/make_phantoms/{cohort}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
        failure_key=failure_key,
    params:
        arguments=phantom_arguments,
        rows=of_cohort(jobs.phantom_rows),
        folder=output_folder,
        code=code_hash("volforge.cli.cohort:phantoms"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge cohort phantoms {params.arguments} --out {params.folder:q} > {log:q} 2>&1"


rule write_cohort_settings:
    """The settings that imports read, as a file: a change of them imports again, a change of others does not."""
    output:
        "results/cohorts/{cohort}/settings.json",
    log:
        "logs/write_cohort_settings/{cohort}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        settings=of_cohort(jobs.cohort_settings),
    shell:
        "printf '%s\\n' {params.settings:q} > {output:q} 2> {log:q}"


rule make_labels:
    """Run the cohort's own program for scans that have no labels (a public segmenter, say)."""
    output:
        record="results/cohorts/{cohort}/made_labels/{scan}.json",
    log:
        "logs/make_labels/{cohort}/{scan}.log",
    benchmark:
        "benchmarks/jobs/make_labels/{cohort}/{scan}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: labels_threads
    resources:
        gpu=labels_resource("gpu"),
        mem_mb=labels_resource("mem_mb"),
        runtime=labels_resource("runtime_min"),
        failure_key=failure_key_with(image_files),
    params:
        image=image_path,
        stamps=image_stamps,
        command=labels_command,
        refusal=refusal_flag,
        version=labels_version_command,
        code=code_hash("volforge.cli.scan:label_"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge scan label --image {params.image:q} --out {output.record:q} {params.refusal} "
        "--command {params.command:q} --version-command {params.version:q} > {log:q} 2>&1"


rule import_scan:
    """One scan: canonical image, labels, body mask, QC picture. A refused scan leaves its record alone."""
    input:
        settings="results/cohorts/{cohort}/settings.json",
        made=source_inputs,
    output:
        record="results/cohorts/{cohort}/scans/{scan}/record.json",
    log:
        "logs/import_scan/{cohort}/{scan}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=import_memory,
        runtime=growing_minutes(20),
        failure_key=failure_key_with(source_files),
    params:
        arguments=import_arguments,
        stamps=source_stamps,
        folder=output_folder,
        code=code_hash("volforge.cli.scan:import_"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge scan import {params.arguments} --settings {input.settings:q} --record-refusal "
        "--out {params.folder:q} > {log:q} 2>&1"


rule collect_scans:
    """The table of a cohort: geometry, flags, split and fold of every scan; refused ones end it or are listed."""
    input:
        records=all_records,
    output:
        "results/cohorts/{cohort}/scans.tsv",
    log:
        "logs/collect_scans/{cohort}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing_minutes(20),
        failure_key=failure_key,
    params:
        sheet=sheet_path,
        fields=of_cohort(jobs.sheet_fields),
        settings=of_cohort(jobs.split_settings),
        records="results/cohorts/{cohort}/scans",
        code=code_hash("volforge.cli.cohort:collect"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge cohort collect --sheet {params.sheet:q} --records {params.records:q} "
        "--settings {params.settings:q} --out {output:q} > {log:q} 2>&1"
