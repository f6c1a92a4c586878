# Models of studies, and what models and baselines make of the test scans.


rule write_arm_settings:
    """An arm as resolved: all that its jobs read."""
    output:
        "results/studies/{study}/{arm}/settings.json",
    log:
        "logs/write_arm_settings/{study}/{arm}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        settings=arm_settings,
    shell:
        "printf '%s\\n' {params.settings:q} > {output:q} 2> {log:q}"


rule write_predict_settings:
    """What the predictions of an arm depend on, and nothing that only measuring reads."""
    output:
        "results/studies/{study}/{arm}/predict.json",
    log:
        "logs/write_predict_settings/{study}/{arm}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        settings=predict_settings,
    shell:
        "printf '%s\\n' {params.settings:q} > {output:q} 2> {log:q}"


rule write_encoder_settings:
    """What the encoder of the Fréchet distance is trained by."""
    output:
        "results/studies/{study}/shared/encoder.json",
    log:
        "logs/write_encoder_settings/{study}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        settings=encoder_settings,
    shell:
        "printf '%s\\n' {params.settings:q} > {output:q} 2> {log:q}"


rule train_slice_encoder:
    """The encoder of a study's Fréchet distance, on real training slices only."""
    input:
        settings="results/studies/{study}/shared/encoder.json",
        scans=scans_of_study,
    output:
        weights="results/studies/{study}/shared/fold{fold}/seed{seed}/models/slice_encoder/weights.safetensors",
        model="results/studies/{study}/shared/fold{fold}/seed{seed}/models/slice_encoder/model.json",
    log:
        "logs/train_slice_encoder/{study}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/train_slice_encoder/{study}/fold{fold}-seed{seed}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(60),
    params:
        folder=output_folder,
        code=code_hash("volforge.cli.model:train_encoder_"),
    shell:
        "volforge model train-encoder --settings {input.settings:q} --scans {input.scans:q} "
        "--fold {wildcards.fold} --seed {wildcards.seed} --out {params.folder:q} > {log:q} 2>&1"


rule predict:
    """What an arm makes of the test scans of a fold."""
    input:
        settings="results/studies/{study}/{arm}/predict.json",
        scans=scans_of_study,
    output:
        "results/studies/{study}/{arm}/fold{fold}/seed{seed}/predictions/predictions.tsv",
    log:
        "logs/predict/{study}/{arm}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/predict/{study}/{arm}/fold{fold}-seed{seed}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(120),
    params:
        folder=output_folder,
        outside=outside_stamps,
        code=code_hash("volforge.cli.model:predict"),
    shell:
        "volforge model predict --settings {input.settings:q} --scans {input.scans:q} "
        "--fold {wildcards.fold} --out {params.folder:q} > {log:q} 2>&1"
