# The only file with functions: loads the resolved run, hands out paths, arguments and resources.
import json
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from volforge.components import name_own_code
from volforge.errors import VolforgeError
from volforge.workflow import (
    clock,
    fail_once,
    jobs,
    shipped,
    study_jobs,
    study_settings,
    targets,
)
from volforge.workflow.code_hash import code_hash, keep_in
from volforge.workflow.one_timer import keep_one_timer
from volforge.workflow.run import load_run
from volforge.workflow.steps import steps
from volforge.workflow.unfinished import Left, page_so_far

# Jobs find the command line of the environment that Snakemake itself runs in, activated or not. Conda and
# containers bring the libraries; the package is the one that read this file.
guard = fail_once.shell_guard()
if workflow.deployment_settings.deployment_method:
    shell.prefix(
        f"{guard}export PYTHONPATH={shlex.quote(str(shipped.importable()))}; "
        'volforge() {{ python -m volforge "$@"; }}; '
    )
else:
    shell.prefix(
        f'{guard}export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; '
    )

keep_one_timer()
keep_in(Path(".snakemake/volforge_code.json"))
try:
    # Files of the sheets are looked for once, not again in every job of a cluster.
    RUN = load_run(workflow.configfiles, config, check_files=workflow.is_main_process)
    failure_key = fail_once.keys_of(
        workflow.configfiles, RUN.cohorts.values(), targets.own_files(RUN)
    )
    name_own_code(targets.own_files(RUN))
    if workflow.is_main_process and not workflow.dryrun:
        fail_once.forget()
        moved = clock.set_back(step.output for step in steps(RUN))
except VolforgeError as error:
    raise WorkflowError(f"\n{error}") from None

if workflow.is_main_process:
    if not workflow.dryrun and moved:
        logger.warning(
            f"{moved} results were from the future (the clock was ahead); they have the time of now."
        )
    for problem in RUN.problems:
        logger.warning(str(problem))


wildcard_constraints:
    cohort="[a-z][a-z0-9_]{0,39}",
    recipe="[a-z][a-z0-9_]{0,39}",
    scan="[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    study="[a-z][a-z0-9_]{0,39}",
    arm="[a-z][a-z0-9_]{0,39}",
    model="(?!(slice_encoder|judging_segmenter)/)[a-z][a-z0-9_]{0,39}",  # those have rules of their own
    fold="[0-9]+",
    seed="[0-9]+",


# Files of the user are stamped in parameters, and are no inputs (`jobs.source_inputs`).
def failure_key_with(files):
    def key(wildcards, input, attempt, rulename):
        read = [*input, *files(wildcards)]
        return failure_key(wildcards, read, attempt, rulename)

    return key


def cohort_of(wildcards):
    if wildcards.cohort not in RUN.cohorts:
        raise WorkflowError(
            f"no cohort '{wildcards.cohort}'; there are {', '.join(RUN.cohorts)}"
        )
    return RUN.cohorts[wildcards.cohort]


def of_cohort(function):
    return lambda wildcards: function(cohort_of(wildcards))


def checked_scan(wildcards):
    cohort = cohort_of(wildcards)
    if wildcards.scan not in cohort.rows:
        raise WorkflowError(f"cohort '{cohort.name}' has no scan '{wildcards.scan}'")
    return cohort


def output_folder(wildcards, output):
    return str(Path(output[0]).parent)


def index_folder(wildcards, input):
    return str(Path(input.index).parent)


# --- cohorts


def phantom_arguments(wildcards):
    cohort = cohort_of(wildcards)
    if cohort.settings.phantom is None:
        raise WorkflowError(f"cohort '{cohort.name}' is no phantom cohort")
    return jobs.phantom_arguments(cohort)


def source_inputs(wildcards):
    return jobs.source_inputs(checked_scan(wildcards), wildcards.scan)


def source_files(wildcards):
    return jobs.source_files(checked_scan(wildcards), wildcards.scan)


def source_stamps(wildcards):
    return stamps_of_scan(checked_scan(wildcards).name, wildcards.scan)


@cache  # parameters of waiting jobs are asked for again and again
def stamps_of_scan(cohort, scan):
    return jobs.source_stamps(RUN.cohorts[cohort], scan)


def image_path(wildcards):
    return checked_scan(wildcards).rows[wildcards.scan].files["image"]


def image_files(wildcards):
    return jobs.existing_files([image_path(wildcards)])


def image_stamps(wildcards):
    return stamps_of_image(image_path(wildcards))


@cache
def stamps_of_image(path):
    return jobs.file_stamps([path])


def refusal_flag(wildcards):
    return "--record-refusal" if on_bad_scan(wildcards) == "exclude" else ""


def labels_command(wildcards):
    return json.dumps(cohort_of(wildcards).settings.labels_command.command)


def labels_version_command(wildcards):
    command = cohort_of(wildcards).settings.labels_command
    return json.dumps(command.version_command or [])


def labels_resource(name):
    def resource(wildcards, attempt):
        value = getattr(cohort_of(wildcards).settings.labels_command, name)
        return value * attempt if name in ("mem_mb", "runtime_min") else value

    return resource


def labels_threads(wildcards):
    return cohort_of(wildcards).settings.labels_command.threads


def import_arguments(wildcards):
    return jobs.import_arguments(checked_scan(wildcards), wildcards.scan)


def import_memory(wildcards, attempt):
    return memory_of_import(checked_scan(wildcards).name, wildcards.scan, attempt)


@cache
def memory_of_import(cohort, scan, attempt):
    return jobs.import_memory_mb(RUN.cohorts[cohort], scan, attempt)


def number_of_scans():
    return sum(len(cohort.rows) for cohort in RUN.cohorts.values())


# Tables, figures and the page grow with the measures: at least one of each scan by each arm. Without a study's name
# those of all studies count.
def growing_with_measures(amount, each):
    def grown(wildcards, attempt):
        named = getattr(wildcards, "study", None)
        studies = RUN.studies.values() if named is None else [study_of(wildcards)]
        measures = sum(len(s.cohort.rows) * len(s.settings.arms) for s in studies)
        return (amount + measures // each) * attempt

    return grown


def growing(amount):
    return lambda wildcards, attempt: amount * attempt


growing_minutes = growing


def all_records(wildcards):
    cohort = cohort_of(wildcards)
    return [
        f"{jobs.scan_folder(cohort.name, scan)}/record.json" for scan in cohort.rows
    ]


def sheet_path(wildcards):
    return str(cohort_of(wildcards).sheet)


# --- recipes


def recipe_json(wildcards):
    if wildcards.recipe not in RUN.configuration.recipes:
        raise WorkflowError(f"no recipe '{wildcards.recipe}'")
    return jobs.recipe_json(RUN, wildcards.recipe)


def structure_ids(wildcards):
    return jobs.structure_ids(RUN, wildcards.cohort, wildcards.recipe)


def all_cuts(wildcards):
    cohort = cohort_of(wildcards)
    folder = f"{jobs.RESULTS}/cohorts/{cohort.name}/recipes/{wildcards.recipe}"
    return [f"{folder}/{scan}/record.json" for scan in cohort.rows]


def on_bad_scan(wildcards):
    return cohort_of(wildcards).settings.on_bad_scan


# --- studies


def study_of(wildcards):
    if wildcards.study not in RUN.studies:
        raise WorkflowError(
            f"no study '{wildcards.study}'; there are {', '.join(RUN.studies) or 'none'}"
        )
    return RUN.studies[wildcards.study]


def study_with_arm(wildcards):
    study = study_of(wildcards)
    if wildcards.arm not in study.settings.arms:
        raise WorkflowError(f"study '{study.name}' has no arm '{wildcards.arm}'")
    return study


def arm_settings(wildcards):
    study = study_with_arm(wildcards)
    return study_settings.measure_settings(study, wildcards.arm, RUN.weights)


def predict_settings(wildcards):
    return study_settings.predict_settings(study_with_arm(wildcards), wildcards.arm)


def scans_of_study(wildcards):
    return f"{jobs.RESULTS}/cohorts/{study_of(wildcards).cohort.name}/scans.tsv"


def model_of(wildcards):
    study = study_of(wildcards)
    arm, model = wildcards.arm, wildcards.model
    if arm not in study.arms_with_models() or model not in study.models_of(arm):
        raise WorkflowError(
            f"arm '{arm}' of study '{study.name}' has no model '{model}'"
        )
    return study


def of_study(function):
    return lambda wildcards: function(study_of(wildcards))


def of_model(function):
    return lambda w: function(model_of(w), w.arm, w.model)


def of_arm(function):
    return lambda w: function(study_of(w), w.arm)


def of_training(function):
    return lambda w: function(RUN.studies, model_of(w), w.arm, w.model, w.fold, w.seed)


def of_prediction(function):
    return lambda w: function(RUN.studies, study_of(w), w.arm, w.fold, w.seed)


def of_fold(function):
    return lambda wildcards: function(study_of(wildcards), wildcards.fold)


def files_of(given):
    return lambda wildcards: list(given(wildcards).values())


needed_by_training = files_of(of_training(study_jobs.inputs_of_training))
needed_by_prediction = files_of(of_prediction(study_jobs.inputs_of_prediction))
needed_by_measures = files_of(of_fold(study_jobs.inputs_of_measures))


def recipe_of_study(wildcards):
    return study_jobs.recipe_index(study_of(wildcards), wildcards.recipe)


def ids_of_study(wildcards):
    return json.dumps([s["id"] for s in study_of(wildcards).learnable()])


def checkpoints_of_model(wildcards):
    w = wildcards
    return study_jobs.checkpoint_folder(model_of(w), w.arm, w.model, w.fold, w.seed)


def train_memory(wildcards, attempt):
    w = wildcards
    return memory_of_training(model_of(w).name, w.arm, w.model, attempt)


@cache  # it looks at every file of the cohort
def memory_of_training(study, arm, model, attempt):
    return study_jobs.train_memory_mb(RUN.studies[study], arm, model, attempt)


def outside_stamps(wildcards):
    return study_jobs.outside_stamps(study_of(wildcards), wildcards.arm)


def predictions_folder(wildcards, input):
    return str(Path(input.predictions).parent)


def cases_folder(wildcards, output):
    return str(Path(output.cases).parent)


def published_file(wildcards):
    path = study_of(wildcards).published
    return [path] if path else []


def published_stamps(wildcards):
    return jobs.file_stamps(published_file(wildcards))


def study_memory(wildcards, attempt):
    return memory_of_study(study_of(wildcards).name, attempt)


@cache
def memory_of_study(study, attempt):
    return study_jobs.memory_mb(RUN.studies[study], attempt)


def parts_of_study(name):
    def files(wildcards):
        study = study_of(wildcards)
        return [f"{study_jobs.part(study, *p)}/{name}" for p in study.parts()]

    return files


measures_of_study = parts_of_study("measures.tsv")
costs_of_study = parts_of_study("predictions/predictions.tsv")


# --- report


def jobs_left():
    dag, failed = workflow.dag, workflow.scheduler.failed
    return [
        Left(j.rule.name, dict(j.wildcards_dict), j in failed, [str(f) for f in j.log])
        for j in dag.jobs
        if dag.needrun(j) and not dag.finished(j)
    ]
