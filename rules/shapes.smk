# Labels to shapes: negative volumes of jaw joints.


rule inflate:
    """Negative volumes of an arm: masks, meshes and numbers of the test scans of a fold."""
    input:
        settings="results/studies/{study}/{arm}/predict.json",
        scans=scans_of_study,
        labels=labels_of_part,
    output:
        "results/studies/{study}/{arm}/fold{fold}/seed{seed}/predictions/predictions.tsv",
    log:
        "logs/inflate/{study}/{arm}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/inflate/{study}/{arm}/fold{fold}-seed{seed}.tsv"
    wildcard_constraints:
        study=studies_of_task("negative_volume"),
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(240),
        gpu=of_arm(study_jobs.predict_gpus),
        failure_key=failure_key,
    params:
        folder=output_folder,
        labels=labels_option,
        code=code_hash("volforge.cli.shape:inflate_arm_"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge shape inflate-arm --settings {input.settings:q} --scans {input.scans:q} "
        "--fold {wildcards.fold} {params.labels} --out {params.folder:q} > {log:q} 2>&1"


rule measure_joints:
    """Measures of an arm's negative volumes, and pictures and 3-D views of some cases."""
    input:
        settings="results/studies/{study}/{arm}/settings.json",
        scans=scans_of_study,
        predictions="results/studies/{study}/{arm}/fold{fold}/seed{seed}/predictions/predictions.tsv",
        reference=reference_of_part,
    output:
        measures="results/studies/{study}/{arm}/fold{fold}/seed{seed}/measures.tsv",
        cases="results/studies/{study}/{arm}/fold{fold}/seed{seed}/cases/cases.tsv",
    log:
        "logs/measure_joints/{study}/{arm}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/measure_joints/{study}/{arm}/fold{fold}-seed{seed}.tsv"
    wildcard_constraints:
        study=studies_of_task("negative_volume"),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(120),
        failure_key=failure_key,
    params:
        predictions=predictions_folder,
        reference=lambda wildcards, input: str(Path(input.reference).parent),
        cases=cases_folder,
        code=code_hash("volforge.cli.shape:measure_arm_"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge shape measure-arm --settings {input.settings:q} --scans {input.scans:q} "
        "--predictions {params.predictions:q} --reference {params.reference:q} --fold {wildcards.fold} "
        "--seed {wildcards.seed} --out {output.measures:q} --cases {params.cases:q} > {log:q} 2>&1"
