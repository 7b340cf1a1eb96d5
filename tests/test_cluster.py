"""Batches on a real Ray cluster of two nodes: the same pictures, none twice and none lost, whatever is killed."""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, image
from remote_work import Told

from tfstyle import cli, images, weights
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


def facts(process):
    """What the system tells about a process: its state, its parent, and so on; nothing if there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def lives(process):
    """Whether a process has not ended."""
    return facts(process)[:1] not in ([], ["Z"])


def node_of(process):
    """The process of the node to which a worker belongs."""
    return facts(process)[1]


def test_both_nodes_make_pictures_and_each_is_made_once(cluster, told, jobs, background, capfd):
    every = jobs(*names(12))
    every[3].output.touch()
    with held(told):
        made = background(every, told, address=cluster.address, skip_existing=True)
        wait_for(lambda: len(workers(told)) == 2)
        assert len({node_of(process) for process in workers(told)}) == 2
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
    with contextlib.ExitStack() as holds:
        with held(told):
            made = background(every, told, address=cluster.address)
            wait_for(lambda: len(workers(told)) == 2)
            second = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
            cluster.remove_node(second, allow_graceful=False)
            began = starts(told)
            (lost,) = wait_for(lambda: [name for name, (process,) in began.items() if not lives(process)])
            holds.enter_context(held(told, lost))
        wait_for(lambda: len(starts(told)[lost]) == 2)
    assert_all_done(made.result(), every)
    assert [name for name, processes in starts(told).items() if len(processes) > 1] == [lost]


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
    # The picture that a worker made just before may not have been returned when it dies; then that one counts as lost.
    assert len(set(starts(told)["deadly"])) >= 3


def test_a_node_with_another_version_is_passed_over_in_one_line(
    one_node, told, jobs, tmp_path, background, monkeypatch, caplog
):
    (tmp_path / "sitecustomize.py").write_text("import tfstyle\ntfstyle.__version__ = '0.0.9'\n")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
        other = one_node.add_node(**NODE)
    every = jobs(*names(4))
    try:
        with held(told):
            made = background(every, told, address=one_node.address)
            wait_for(lambda: caplog.records)
        assert_all_done(made.result(), every)
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
    every = jobs("q", "r")
    assert_all_done(list(driver.run(every, Told(told.folder, str(network)), address=cluster.address)), every)


def test_an_error_that_is_a_bug_ends_the_batch_with_its_cause(cluster, told, jobs):
    with pytest.raises(RuntimeError, match=r"a worker of the cluster: ZeroDivisionError: by nothing"):
        list(driver.run(jobs("bug"), told, address=cluster.address))


def test_workers_end_with_the_batch(cluster, told, jobs):
    every = jobs(*names(4))
    with held(told, "p02"), contextlib.closing(driver.run(every, told, address=cluster.address)) as made:
        next(made)
        wait_for(lambda: "p02" in starts(told))
        made.close()
        wait_for(lambda: not any(map(lives, workers(told))), 20)


@pytest.mark.slow
def test_a_cluster_that_is_gone_ends_the_batch_in_one_line_and_keeps_what_is_done(
    told, jobs, background, capfd, monkeypatch
):
    monkeypatch.setattr(driver, "PATIENCE", 12.0)
    every = jobs(*names(6))
    with made_cluster() as cluster, held(told, "p03"):
        address = cluster.address
        made = background(every, told, address=cluster.address)
        wait_for(lambda: "p03" in starts(told))
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        with pytest.raises(WorkerError, match=f"^the Ray cluster at {address} no longer answers; what is done"):
            made.result()
    assert [job.output.exists() for job in every] == [True] * 3 + [False] * 3
    assert "tfstyle" not in capfd.readouterr().err


@pytest.fixture
def words(tmp_path, rng):
    """The words of a batch of three photographs, of which one is damaged, in two styles with masks."""
    for name in ("photos/a.png", "photos/trip/b.png", "photos/c.png", "x.png", "y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(image(rng, 48, 60), tmp_path / name)
    (tmp_path / "photos" / "c.png").write_bytes((tmp_path / "x.png").read_bytes()[:300])
    images.write(image(rng, 48, 60), tmp_path / "mask.png")
    shutil.copy(weights.embedded_path("starry-night"), tmp_path / "night.keras")
    return ["batch", str(tmp_path / "photos"), "-v"]


def by_recipe(folder):
    """Options of runs of a recipe."""
    styles = [f"{folder / 'x.png'}:mask={folder / 'mask.png'}", f"{folder / 'y.png'}:mask=left"]
    return ["--styles", *styles, "--recipe", "tensorflow-tutorial", "--size", "64", "--steps", "2"]


def by_network(folder):
    """Options of passes of a network."""
    return ["--model", str(folder / "night.keras"), "--size", "40"]


@pytest.mark.parametrize("options", [pytest.param(by_recipe, marks=pytest.mark.slow), by_network])
def test_the_files_the_table_and_the_log_are_those_of_one_machine(options, cluster, words, tmp_path, capsys):
    found = []
    for where in ([], ["--ray", cluster.address]):
        folder = tmp_path / f"out{len(where)}"
        assert cli.main([*words, *options(tmp_path), *where, "-o", str(folder)]) == 8
        out, err = capsys.readouterr()
        files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}
        rows = [row | {"seconds": ""} for row in csv.DictReader((folder / "results.csv").open(newline=""))]
        log = {line for line in err.splitlines() if line.startswith("tfstyle:") and " about " not in line}
        found.append((files, rows, sorted(Path(line).name for line in out.splitlines()), log))
    (files, rows, out, log), (files_of_cluster, *others, log_of_cluster) = found
    assert files == files_of_cluster
    assert len(files) == (4 if options is by_recipe else 2)
    assert [rows, out] == others
    assert {line.replace("out0", "out2") for line in log} == log_of_cluster


@pytest.mark.slow
def test_ctrl_c_ends_a_batch_and_its_workers(cluster, words, tmp_path):
    options = ["--ray", cluster.address, "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfstyle", *words, *by_recipe(tmp_path), "--steps", "500", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(actors()) == 2, 60)
    wait_for(lambda: (tmp_path / "out" / "results.csv").exists(), 120)  # The damaged one.
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does.
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == f"interrupted; 0 of 6 pictures are in {tmp_path / 'out'}; --skip-existing goes on."
    wait_for(lambda: not actors(), 20)


def actors():
    """The processes of workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path.parent.name] if path.read_bytes().startswith(b"ray::Actor") else []
    return found
