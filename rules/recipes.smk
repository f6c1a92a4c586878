# Canonical scans to what networks read: slices or a region per scan; then one index per recipe.


rule cut_scan:
    """One scan by one recipe: compressed arrays, index and the geometry of the way back."""
    input:
        record="results/cohorts/{cohort}/scans/{scan}/record.json",
    output:
        record="results/cohorts/{cohort}/recipes/{recipe}/{scan}/record.json",
    log:
        "logs/cut_scan/{cohort}/{recipe}/{scan}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=import_memory,
        runtime=growing_minutes(10),
        failure_key=failure_key,
    params:
        scan=lambda wildcards, input: str(Path(input[0]).parent),
        folder=output_folder,
        recipe=recipe_json,
        structures=structure_ids,
        code=code_hash("volforge.cli.scan:cut"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge scan cut {params.scan:q} --recipe {params.recipe:q} --structures {params.structures:q} "
        "--record-refusal --out {params.folder:q} > {log:q} 2>&1"


rule index_recipe:
    """All slices of a recipe in one table, with split and fold."""
    input:
        scans="results/cohorts/{cohort}/scans.tsv",
        records=all_cuts,
    output:
        "results/cohorts/{cohort}/recipes/{recipe}/index.tsv",
    log:
        "logs/index_recipe/{cohort}/{recipe}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing_minutes(20),
        failure_key=failure_key,
    params:
        folder=output_folder,
        on_bad_scan=on_bad_scan,
        code=code_hash("volforge.cli.cohort:index"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge cohort index --recipe {params.folder:q} --scans {input.scans:q} "
        "--on-bad-scan {params.on_bad_scan} --out {output:q} > {log:q} 2>&1"


rule export_slices:
    """PNG folders of a recipe, as the published pipelines read them."""
    input:
        scans="results/cohorts/{cohort}/scans.tsv",
        index="results/cohorts/{cohort}/recipes/{recipe}/index.tsv",
    output:
        "results/cohorts/{cohort}/png/{recipe}/export.json",
    log:
        "logs/export_slices/{cohort}/{recipe}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(60),
        failure_key=failure_key,
    params:
        recipe=index_folder,
        folder=output_folder,
        code=code_hash("volforge.cli.scan:export"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge scan export {params.recipe:q} --scans {input.scans:q} --out {params.folder:q} > {log:q} 2>&1"
