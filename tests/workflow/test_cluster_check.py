"""What the commands of a cluster print, as partitions, limits and settings."""

import pytest

from tests.conftest import volforge
from volforge.errors import VolforgeError
from volforge.workflow.cluster import advice, look, minutes_of, partitions_yaml

CONFIG = """Configuration data as of 2026-11-20
AccountingStorageEnforce = associations,limits
AccountingStorageType   = accounting_storage/slurmdbd
MaxArraySize            = 1001
MinJobAge               = 300 sec
"""
SINFO = """main*|up|2-00:00:00|256000+|64|(null)|40
main*|up|2-00:00:00|1024000|128|(null)|2
gpu|up|1-12:00:00|512000|64|gpu:a100:4(S:0-1)|8
gpu|up|1-12:00:00|512000|64|gpu:h200:8(S:0-1),gpu:a100:1|2
old|down|infinite|64000|16|gpu:2|3
"""


def fake(answers):
    def command(words):
        text = " ".join(words)
        hits = [a for k, a in answers.items() if text.startswith(k)]
        return hits[0] if hits else (127, "")

    return command


USUAL = {
    "sbatch --version": (0, "slurm 23.11.4\n"),
    "scontrol show config": (0, CONFIG),
    "sacct -n": (0, ""),
    "sacctmgr -nP list user": (0, "lab_a|\n"),
    "sacctmgr -nP list associations": (0, "lab_a\nlab_b\n"),
    "sinfo": (0, SINFO),
}


def test_a_usual_cluster():
    cluster = look(fake(USUAL))
    assert (cluster.version, cluster.has_accounting, cluster.enforces_accounts) == ("23.11.4", True, True)
    assert cluster.accounts == ["lab_a", "lab_b"]
    main, gpu, old = cluster.partitions
    assert (main.is_default, main.memory_mb, main.cpus, main.nodes, main.max_minutes) == (True, 1024000, 128, 42, 2880)
    assert gpu.gpus == {"a100": 4, "h200": 8}
    assert (old.is_up, old.max_minutes, old.gpus) == (False, None, {"gpu": 2})
    settings, remarks = advice(cluster)
    assert 'default-resources: {runtime: 30, mem_mb: 2000, slurm_account: "lab_a"}' in settings
    assert "seconds-between-status-checks: 20" in settings
    assert any("lab_b" in r for r in remarks)
    assert any("old" in r for r in remarks)
    text = partitions_yaml(cluster)
    assert 'available_gpu_models: ["a100", "h200"]' in text
    assert "old" not in text


def test_the_partitions_are_those_that_the_plugin_reads(tmp_path):
    from snakemake_executor_plugin_slurm.partitions import read_partition_file

    path = tmp_path / "p.yaml"
    path.write_text(partitions_yaml(look(fake(USUAL))))
    by_name = {p.name: p.limits for p in read_partition_file(path)}
    assert by_name["main"].max_gpu == 0
    assert by_name["main"].max_mem_mb == 1024000
    assert by_name["gpu"].max_gpu == 8
    assert by_name["gpu"].max_runtime == 36 * 60


def test_without_accounting_and_with_a_short_memory():
    answers = {
        **USUAL,
        "sacct -n": (1, "Slurm accounting storage is disabled"),
        "sinfo": (0, "all*|up|30:00|8000|4|gpu:1|1\n"),
    }
    answers["scontrol show config"] = (0, "MinJobAge = 5 sec\nAccountingStorageType = accounting_storage/none\n")
    cluster = look(fake(answers))
    assert not cluster.has_accounting
    assert cluster.accounts == []
    settings, remarks = advice(cluster)
    assert "seconds-between-status-checks: 5" in settings
    assert any("forgotten after 5 s" in r for r in remarks)
    assert not any("slurm_account" in s for s in settings)


def test_where_all_nodes_have_gpus_one_partition_takes_the_other_jobs():
    answers = {**USUAL, "sinfo": (0, "day*|up|1-00:00:00|8000|4|gpu:1|1\nlong|up|infinite|8000|4|gpu:1|1\n")}
    text = partitions_yaml(look(fake(answers)))
    assert text.count("max_gpu") == 1
    assert text.index("max_gpu") > text.index('"long":')


def test_no_slurm_says_so(tmp_path):
    with pytest.raises(VolforgeError, match="no SLURM here"):
        look(fake({}))
    with pytest.raises(VolforgeError, match="controller does not answer: down"):
        look(fake({"sbatch": (0, "slurm 22"), "scontrol": (1, "down")}))
    done = volforge("cluster", "check", cwd=tmp_path, env={"PATH": "/nowhere"})
    assert done.returncode == 1
    assert "login node" in done.stderr


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("2-00:00:00", 2880), ("1-12:30:00", 2190), ("12:30:00", 750), ("30:00", 30), ("infinite", None), ("n/a", None)],
)
def test_limits(text, minutes):
    assert minutes_of(text) == minutes
