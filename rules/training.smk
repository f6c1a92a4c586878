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
        settings=of_study(study_settings.judge_settings),
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
        failure_key=failure_key,
    params:
        folder=output_folder,
        code=code_hash("volforge.judging.train_encoder:train_encoder"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge model train-encoder --settings {input.settings:q} --scans {input.scans:q} "
        "--fold {wildcards.fold} --seed {wildcards.seed} --out {params.folder:q} > {log:q} 2>&1"


rule train_judging_segmenter:
    """The segmenter that reads synthetic images, on real training slices only."""
    input:
        settings="results/studies/{study}/shared/encoder.json",
        scans=scans_of_study,
    output:
        weights="results/studies/{study}/shared/fold{fold}/seed{seed}/models/judging_segmenter/weights.safetensors",
        model="results/studies/{study}/shared/fold{fold}/seed{seed}/models/judging_segmenter/model.json",
    log:
        "logs/train_judging_segmenter/{study}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/train_judging_segmenter/{study}/fold{fold}-seed{seed}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(60),
        failure_key=failure_key,
    params:
        folder=output_folder,
        code=code_hash("volforge.judging.judge:train_judge"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge model train-judge --settings {input.settings:q} --scans {input.scans:q} "
        "--fold {wildcards.fold} --seed {wildcards.seed} --out {params.folder:q} > {log:q} 2>&1"


rule write_model_settings:
    """A model as resolved: all that its training reads."""
    output:
        "results/studies/{study}/{arm}/{model}.train.json",
    log:
        "logs/write_model_settings/{study}/{arm}-{model}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        settings=of_model(study_settings.model_settings_json),
    shell:
        "printf '%s\\n' {params.settings:q} > {output:q} 2> {log:q}"


rule make_distances:
    """Signed distances to the study's structures, on the grids of a recipe: once for all boundary losses."""
    input:
        scans=scans_of_study,
        index=recipe_of_study,
    output:
        "results/studies/{study}/shared/distances/{recipe}/distances.json",
    log:
        "logs/make_distances/{study}/{recipe}.log",
    benchmark:
        "benchmarks/jobs/make_distances/{study}/{recipe}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(120),
        failure_key=failure_key,
    params:
        folder=output_folder,
        ids=ids_of_study,
        code=code_hash("volforge.study.distances:make_distances"),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge model distances --scans {input.scans:q} --recipe {wildcards.recipe:q} --ids {params.ids:q} "
        "--out {params.folder:q} > {log:q} 2>&1"


rule train_model:
    """One model of a fold and seed. It goes on from its last checkpoint, after any end and at every retry."""
    input:
        settings="results/studies/{study}/{arm}/{model}.train.json",
        scans=scans_of_study,
        index=of_model(study_jobs.recipe_of_model),
        distances=of_model(study_jobs.distances_of_model),
        needs=needed_by_training,
    output:
        weights="results/studies/{study}/{arm}/fold{fold}/seed{seed}/models/{model}/weights.safetensors",
        model="results/studies/{study}/{arm}/fold{fold}/seed{seed}/models/{model}/model.json",
        history="results/studies/{study}/{arm}/fold{fold}/seed{seed}/models/{model}/history.tsv",
    log:
        "logs/train_model/{study}/{arm}-{model}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/train_model/{study}/{arm}-{model}/fold{fold}-seed{seed}.tsv"
    retries: 10 * workflow.is_main_process  # not within a job of a cluster, in what is left of it
    conda:
        "../envs/gpu.yaml"
    threads: of_model(study_jobs.train_threads)
    resources:
        mem_mb=train_memory,
        runtime=1440,
        gpu=of_model(study_jobs.train_gpus),
        workers=of_model(study_jobs.train_workers),
        attempt=lambda wildcards, attempt: attempt,
        failure_key=failure_key,
    params:
        folder=output_folder,
        checkpoints=checkpoints_of_model,
        options=of_training(study_jobs.options_of_training),
        code=of_model(study_jobs.train_code),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge model train --settings {input.settings:q} --scans {input.scans:q} --fold {wildcards.fold} "
        "--seed {wildcards.seed} --checkpoints {params.checkpoints:q} {params.options} "
        "--minutes $(( {resources.runtime} * 9 / 10 )) --workers {resources.workers} "
        "--attempt {resources.attempt} --code {params.code} --out {params.folder:q} > {log:q} 2>&1"


rule predict:
    """What an arm makes of the test scans of a fold."""
    input:
        settings="results/studies/{study}/{arm}/predict.json",
        scans=scans_of_study,
        needs=needed_by_prediction,
    output:
        "results/studies/{study}/{arm}/fold{fold}/seed{seed}/predictions/predictions.tsv",
    log:
        "logs/predict/{study}/{arm}/fold{fold}-seed{seed}.log",
    benchmark:
        "benchmarks/jobs/predict/{study}/{arm}/fold{fold}-seed{seed}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: of_arm(study_jobs.predict_threads)
    resources:
        mem_mb=study_memory,
        runtime=growing_minutes(240),
        gpu=of_arm(study_jobs.predict_gpus),
        failure_key=failure_key,
    params:
        folder=output_folder,
        outside=outside_stamps,
        options=of_prediction(study_jobs.options_of_prediction),
        code=of_arm(study_jobs.predict_code),
    shell:
        "unless_lasting {resources.failure_key} {log:q}; "
        "volforge model predict --settings {input.settings:q} --scans {input.scans:q} "
        "--fold {wildcards.fold} --seed {wildcards.seed} {params.options} --out {params.folder:q} > {log:q} 2>&1"
