"""Batches on a real Ray cluster of two nodes: the same pictures, none twice and none lost, whatever is killed."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, image
from remote_work import Told

from tfstyle import images
from tfstyle.batch import Job
from tfstyle.cluster import driver
from tfstyle.cluster.painter import versions
from tfstyle.errors import WeightsError, WorkerError

NODE = {"num_cpus": os.cpu_count(), "object_store_memory": 80_000_000}
"""A node that Ray takes for a machine of its own; as many threads compute as on this one."""


@contextlib.contextmanager
def made_cluster():
    """A cluster of one node."""
    from ray.cluster_utils import Cluster

    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", path)
        cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
        try:
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def one_node():
    with made_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(one_node):
    """A cluster of two nodes, of which the second may be killed."""
    second = one_node.add_node(**NODE)
    yield one_node
    if second in one_node.list_all_nodes():
        one_node.remove_node(second, allow_graceful=False)


@pytest.fixture
def told(tmp_path):
    """Work, and the folder in which it tells."""
    (tmp_path / "told").mkdir()
    return Told(tmp_path / "told")


@pytest.fixture
def jobs(tmp_path, rng):
    """A function that makes the jobs of some names."""

    def make(*names):
        for name in names:
            images.write(image(rng, 12, 16), tmp_path / f"{name}.png")
        return [Job(tmp_path / f"{name}.png", None, tmp_path / "out" / f"{name}.png") for name in names]

    (tmp_path / "out").mkdir()
    return make


def names(count):
    return [f"p{number:02}" for number in range(count)]


def starts(told):
    """Name of a picture → the processes that began it, in their order."""
    found = {}
    for path in sorted(told.folder.glob("*.*.*"), key=lambda path: path.name.rpartition(".")[2]):
        name, process, _ = path.name.split(".")
        found.setdefault(name, []).append(int(process))
    return found


def wait_for(condition, seconds=60):
    """Waits until a condition holds, and returns it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def assert_all_done(outcomes, jobs):
    """That every job is done once, and its result is that of its own picture."""
    assert sorted(outcome.job.output for outcome in outcomes) == sorted(job.output for job in jobs)
    assert {(outcome.status, outcome.message) for outcome in outcomes} == {("done", "")}
    for job in jobs:
        assert job.output.read_bytes() == job.content.read_bytes()


@pytest.fixture
def background():
    """A function that runs a batch in a thread; returns the future list of its outcomes."""
    with ThreadPoolExecutor(1) as threads:
        yield lambda *given, **options: threads.submit(lambda: list(driver.run(*given, **options)))


@contextlib.contextmanager
def held(told, picture=""):
    """Inside the context a picture waits, or all do; afterwards they are made in any case."""
    path = told.folder / (f"HOLD.{picture}" if picture else "HOLD")
    path.touch()
    try:
        yield
    finally:
        path.unlink()


def workers(told):
    """The processes that have begun a picture."""
    return {process for processes in starts(told).values() for process in processes}


def test_both_nodes_make_pictures_and_each_is_made_once(cluster, told, jobs, background, capfd):
    every = jobs(*names(12))
    every[3].output.touch()
    with held(told):
        made = background(every, told, address=cluster.address, skip_existing=True)
        wait_for(lambda: len(workers(told)) == 2)
        assert len(list(told.folder.glob("*.*.*"))) == 2
    skipped, *others = made.result()
    assert (skipped.job, skipped.status) == (every[3], "skipped")
    assert_all_done(others, [job for job in every if job is not every[3]])
    assert {len(processes) for processes in starts(told).values()} == {1}
    assert capfd.readouterr() == ("", "")


def test_the_picture_of_a_killed_worker_is_made_again(cluster, told, jobs, background, capfd):
    every = jobs(*names(10))
    with held(told, "p00"):
        made = background(every, told, address=cluster.address)
        (killed,) = wait_for(lambda: starts(told).get("p00"))
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(starts(told)["p00"]) == 2)
    assert_all_done(made.result(), every)
    began = starts(told)
    assert len(set(began.pop("p00"))) == 2
    assert {len(processes) for processes in began.values()} == {1}
    assert capfd.readouterr() == ("", "")


def test_the_pictures_of_a_killed_node_are_made_by_the_other(cluster, told, jobs, background):
    every = jobs(*names(10))
    with held(told):
        made = background(every, told, address=cluster.address)
        wait_for(lambda: len(workers(told)) == 2)
        second = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
        cluster.remove_node(second, allow_graceful=False)
    assert_all_done(made.result(), every)
    assert sorted(len(processes) for processes in starts(told).values()) == [1] * 9 + [2]


def test_a_late_node_takes_part(one_node, told, jobs, background):
    every = jobs(*names(10))
    with held(told):
        made = background(every, told, address=one_node.address)
        wait_for(lambda: workers(told))
        late = one_node.add_node(**NODE)
        try:
            wait_for(lambda: len(workers(told)) == 2)
        finally:
            (told.folder / "HOLD").unlink()
            outcomes = made.result()
            (told.folder / "HOLD").touch()
            one_node.remove_node(late, allow_graceful=False)
    assert_all_done(outcomes, every)
    assert {len(processes) for processes in starts(told).values()} == {1}


def test_what_fails_is_named_and_what_kills_three_workers_is_given_up(cluster, told, jobs):
    every = jobs("bad", "deadly", *names(4), "missing")
    every[-1].content.unlink()
    outcomes = {outcome.job.content.stem: outcome for outcome in driver.run(every, told, address=cluster.address)}
    assert len(outcomes) == 7
    assert (outcomes["bad"].status, outcomes["bad"].message) == ("failed", f"{every[0].content}: is bad.")
    assert outcomes["deadly"].message == "3 workers were lost while they made it."
    assert outcomes["missing"].message.startswith(f"{every[-1].content}: no such file")
    assert_all_done([outcomes[name] for name in names(4)], every[2:6])
    assert len(starts(told)["deadly"]) == 3


def test_a_node_with_another_version_is_passed_over_in_one_line(one_node, told, jobs, tmp_path, monkeypatch, caplog):
    (tmp_path / "sitecustomize.py").write_text("import tfstyle\ntfstyle.__version__ = '0.0.9'\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    other = one_node.add_node(**NODE)
    every = jobs(*names(4))
    try:
        assert_all_done(list(driver.run(every, told, address=one_node.address)), every)
    finally:
        one_node.remove_node(other, allow_graceful=False)
    assert len(workers(told)) == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"tfstyle 0.0.9, here {versions()['tfstyle']}; install the same" in line


def test_work_that_cannot_start_ends_the_batch(cluster, told, jobs, tmp_path):
    network = tmp_path / "n.keras"
    network.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=f"^{network}: is damaged"):
        list(driver.run(jobs("p"), Told(told.folder, str(network)), address=cluster.address))
    network.write_bytes(b"good")
    every = jobs("p", "q")
    assert_all_done(list(driver.run(every, Told(told.folder, str(network)), address=cluster.address)), every)


def test_workers_end_with_the_batch(cluster, told, jobs):
    every = jobs(*names(4))
    with held(told, "p02"), contextlib.closing(driver.run(every, told, address=cluster.address)) as made:
        next(made)
        wait_for(lambda: "p02" in starts(told))
        made.close()
        wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in workers(told)), 20)


def test_a_cluster_that_is_gone_ends_the_batch_in_one_line_and_keeps_what_is_done(told, jobs, background, capfd):
    every = jobs(*names(6))
    with made_cluster() as cluster, held(told, "p03"):
        made = background(every, told, address=cluster.address)
        wait_for(lambda: "p03" in starts(told))
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        with pytest.raises(WorkerError, match=f"^the Ray cluster at {cluster.address} no longer answers; what is done"):
            made.result()
    assert [job.output.exists() for job in every] == [True] * 3 + [False] * 3
    assert "tfstyle" not in capfd.readouterr().err
