# Predictions to measures, tables and figures.


rule measure:
    """All measures of an arm's fold and seed, and pictures of some cases."""
    input:
        settings="results/studies/{study}/{arm}/settings.json",
        scans=scans_of_study,
        predictions="results/studies/{study}/{arm}/fold{fold}/seed{seed}/predictions/predictions.tsv",
        needs=needed_by_measures,
    output:
        measures="results/studies/{study}/{arm}/fold{fold}/seed{seed}/measures.tsv",
        cases="results/studies/{study}/{arm}/fold{fold}/seed{seed}/cases/cases.tsv",
    log:
        "logs/measure/{study}/{arm}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/measure/{study}/{arm}/fold{fold}-seed{seed}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(120),
        failure_key=failure_key,
    params:
        predictions=predictions_folder,
        cases=cases_folder,
        options=of_fold(study_jobs.options_of_measures),
        code=of_study(study_jobs.measure_code),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge study measure --settings {input.settings:q} --scans {input.scans:q} "
        "--predictions {params.predictions:q} --fold {wildcards.fold} --seed {wildcards.seed} "
        "{params.options} --out {output.measures:q} --cases {params.cases:q} > {log:q} 2>&1"


rule collect_measures:
    """The measures of all arms, folds and seeds of a study."""
    input:
        measures_of_study,
    output:
        "results/studies/{study}/measures.tsv",
    log:
        "logs/collect_measures/{study}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing_with_measures(1000, 2000),
        runtime=growing_minutes(10),
        failure_key=failure_key,
    params:
        code=code_hash("volforge.study.measures:collect"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge study collect {input:q} --out {output:q} > {log:q} 2>&1"


rule write_table_settings:
    """What a study's table reads of the configuration."""
    output:
        "results/studies/{study}/table.settings.json",
    log:
        "logs/write_table_settings/{study}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        settings=lambda wildcards: study_settings.table_settings(
            RUN.studies, study_of(wildcards)
        ),
    shell:
        "printf '%s\\n' {params.settings:q} > {output:q} 2> {log:q}"


rule make_table:
    """The table of a study, and what its arms cost."""
    input:
        measures="results/studies/{study}/measures.tsv",
        settings="results/studies/{study}/table.settings.json",
        predictions=costs_of_study,
    output:
        report(
            "results/studies/{study}/table.tsv",
            category="Tables",
            subcategory="{study}",
        ),
        report(
            "results/studies/{study}/table.md",
            category="Tables",
            subcategory="{study}",
        ),
        "results/studies/{study}/table.tex",
        "results/studies/{study}/table.json",
        "results/studies/{study}/cost.tsv",
    log:
        "logs/make_table/{study}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing_with_measures(2000, 500),
        runtime=growing_with_measures(20, 10_000),
        failure_key=failure_key_with(published_file),
    params:
        folder=output_folder,
        published=published_stamps,
        code=code_hash("volforge.report.study_files:write_tables"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge study table --measures {input.measures:q} --settings {input.settings:q} "
        "--out {params.folder:q} > {log:q} 2>&1"


rule draw_figures:
    """The figures of a study, as SVG and PNG."""
    input:
        measures="results/studies/{study}/measures.tsv",
        settings="results/studies/{study}/table.settings.json",
        parts=measures_of_study,
    output:
        "results/studies/{study}/figures/figures.json",
    log:
        "logs/draw_figures/{study}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing_with_measures(2000, 500),
        runtime=growing_with_measures(20, 10_000),
        failure_key=failure_key_with(published_file),
    params:
        folder=output_folder,
        published=published_stamps,
        code=code_hash("volforge.report.study_files:write_study_figures"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge study figures --measures {input.measures:q} --settings {input.settings:q} "
        "--out {params.folder:q} > {log:q} 2>&1"
