# The table of contents: configuration, stages, targets. Functions live in rules/common.smk.
from snakemake.utils import min_version

min_version("9.27")

# The default is read only where no --configfile is given: Snakemake would merge the two.
if not workflow.configfiles:

    configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/cohorts.smk"
include: "rules/recipes.smk"
include: "rules/training.smk"
include: "rules/measures.smk"
include: "rules/report.smk"


rule all:
    """Everything that the configuration asks for."""
    default_target: True
    input:
        rules.report.output,
        rules.write_crate.output,


rule cohorts:
    """Every cohort: scans imported, body masks, QC pictures, tables of scans."""
    input:
        targets.scan_tables(RUN),


rule recipes:
    """Every recipe of every cohort: slices and regions."""
    input:
        jobs.indices(RUN),


rule export_png:
    """PNG folders in the published layout, for every cohort and recipe that cuts slices."""
    input:
        jobs.exports(RUN),


rule training:
    """Every model of every study."""
    input:
        targets.models(RUN),


rule predictions:
    """What every arm of every study makes of its test scans."""
    input:
        targets.of_parts(RUN, "predictions/predictions.tsv"),


rule shapes:
    """Negative volumes of every study that has some: masks, meshes, numbers."""
    input:
        targets.shapes(RUN),


rule measures:
    """All measures of every study, as tidy rows."""
    input:
        targets.of_studies(RUN, "measures.tsv"),


rule tables:
    """The table of every study: TSV, Markdown, LaTeX, JSON."""
    input:
        targets.of_studies(RUN, "table.json"),


rule figures:
    """The figures of every study."""
    input:
        targets.of_studies(RUN, "figures/figures.json"),
