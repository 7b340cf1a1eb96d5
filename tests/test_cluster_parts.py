"""The parts of a batch on a cluster that need no cluster: the queue, a worker's files, the checks before it begins."""

import itertools
import logging
import random
import socket
from pathlib import Path

import pytest
from conftest import SAMPLES, assert_one_line
from remote_work import Told

from tfstyle import cli
from tfstyle.batch import Job
from tfstyle.cluster import driver
from tfstyle.cluster.painter import Delivery, Painter
from tfstyle.cluster.queue import Finished, Joined, Lost, Note, Queue, dispatch
from tfstyle.errors import InputError, SetupError, UsageError, WeightsError, WorkerError
from tfstyle.makers import FastWork, RecipeWork
from tfstyle.recipes import get_recipe
from tfstyle.styles import Style


def test_a_worker_has_one_picture_and_the_next_one_and_the_last_ones_go_to_idle_workers():
    jobs = Queue(6)
    jobs.join("a")
    jobs.join("b")
    assert [jobs.take(worker) for worker in "abab"] == [0, 1, 2, 3]
    assert jobs.take("a") is None
    assert jobs.finish("a", 0)
    assert jobs.take("a") is None  # Two wait for two workers: none waits behind picture 2.
    assert jobs.finish("a", 2)
    assert jobs.take("a") == 4
    assert not jobs.finish("a", 2)
    assert jobs.unfinished == {1, 3, 4, 5}


def test_what_a_lost_worker_had_is_first_in_the_queue_and_what_kills_three_is_given_up():
    jobs = Queue(6)
    for worker, back in (("a", None), ("b", None), ("c", 0)):
        jobs.join(worker)
        assert [jobs.take(worker), jobs.take(worker)] == [0, 1]
        assert jobs.lose(worker) == back
    assert jobs.unfinished == {1, 2, 3, 4, 5}
    jobs.join("d")
    assert [jobs.take("d"), jobs.take("d")] == [1, 2]  # Picture 1 was never the one that was made.
    assert jobs.lose("nobody") is None


class Flaky:
    """An engine whose workers come and go at random."""

    def __init__(self, seed):
        self.chance, self.names, self.at = random.Random(seed), itertools.count(), {}
        self.most = 0

    def poll(self, seconds):
        what = self.chance.random()
        if what < 0.2 or not self.at:
            name = str(next(self.names))
            self.at[name] = []
            return [Joined(name)]
        name = self.chance.choice(list(self.at))
        if what < 0.3:
            del self.at[name]
            return [Lost(name)]
        return [Finished(name, self.at[name].pop(0), Delivery({}))] if self.at[name] else [Note("idle")]

    def submit(self, worker, number, job):
        if number == 5:
            raise InputError("no such file.")
        self.at[worker].append(number)
        self.most = max(self.most, len(self.at[worker]))

    def refused(self):
        return ""


@pytest.mark.parametrize("seed", range(20))
def test_every_picture_is_finished_once_whatever_is_lost(seed):
    flaky = Flaky(seed)
    told = [message for message in dispatch([None] * 30, flaky, address="a:1") if isinstance(message, tuple)]
    numbers = [message[0] for message in told if not isinstance(message, Note)]
    assert sorted(numbers) == list(range(30))
    assert dict(message for message in told if not isinstance(message, Note))[5].failure == "no such file."
    assert flaky.most == 2


class Deserted:
    """An engine without workers."""

    def __init__(self, reason=""):
        self.reason = reason

    def poll(self, seconds):
        return []

    def refused(self):
        return self.reason


def test_a_cluster_without_free_machines_ends_the_batch():
    ticks = itertools.count(0, 9)
    messages = []
    with pytest.raises(WorkerError, match="no machine of the Ray cluster at a:1 has been free for 60 s"):
        messages.extend(dispatch([None], Deserted(), address="a:1", clock=lambda: next(ticks)))
    assert messages == [None] * 7  # 9, 18, … 63 seconds.
    with pytest.raises(SetupError, match="another version"):
        list(dispatch([None], Deserted("another version"), address="a:1"))


@pytest.fixture
def painter(tmp_path):
    """A function that makes a worker which tells in a folder."""
    made = []

    def make(**options):
        (tmp_path / "told").mkdir(exist_ok=True)
        sent = {options["model"]: options.pop("data")} if "model" in options else {}
        made.append(Painter(Told(tmp_path / "told", **options), sent, level=logging.INFO))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_worker_returns_what_was_written_and_removes_its_files(painter, tmp_path, rng):
    worker = painter()
    style, fetched = tmp_path / "art" / "x.png", []
    job = Job(tmp_path / "photos" / "x.png", Style(str(style), mask="left"), tmp_path / "out" / "y.png")
    shared = {str(style): lambda: fetched.append(1) or b"style"}
    for _ in range(2):
        delivery = worker.paint(job, b"content", shared)
        assert (delivery.files, delivery.failure, delivery.unusable) == ({"y.png": b"content"}, "", "")
    assert fetched == [1]
    (folder,) = worker._folder.iterdir()  # That of the style image alone.
    assert [path.read_bytes() for path in folder.iterdir()] == [b"style"]
    worker.close()
    assert not worker._folder.exists()


def test_messages_and_the_log_of_a_worker_name_the_files_of_the_batch(painter, monkeypatch):
    def make(self, job, data):
        logging.getLogger("tfstyle").info("%s: reduced.", job.content)
        logging.getLogger("tfstyle").debug("nothing")
        job.output.with_name("z.unfinished.png").write_bytes(b"so far")
        raise InputError(f"{job.content} and {job.style.picture} differ, {job.output}: its best image.")

    monkeypatch.setattr(Told, "make", make)
    job = Job(Path("x.png"), Style("art/x.png"), Path("out/z.png"))
    delivery = painter().paint(job, b"content", {"art/x.png": lambda: b"style"})
    assert delivery.failure == "x.png and art/x.png differ, out/z.png: its best image."
    assert delivery.notes == ((logging.INFO, "x.png: reduced."),)
    assert delivery.files == {"z.unfinished.png": b"so far"}


def test_a_machine_that_cannot_write_is_not_usable(painter, monkeypatch):
    def full(self, job, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Told, "make", full)
    delivery = painter().paint(Job(Path("x.png"), None, Path("z.png")), b"content", {})
    assert "No space left" in delivery.unusable


def test_a_file_that_all_pictures_need_is_checked_when_a_worker_starts(painter):
    painter(model="nets/a.keras", data=b"good")
    with pytest.raises(WeightsError, match=r"^nets/a.keras: is damaged"):
        painter(model="nets/a.keras", data=b"damaged")


def test_work_names_the_files_it_needs_and_takes_them_from_elsewhere(tmp_path):
    recipe = get_recipe("draft", weights=str(SAMPLES / "chelsea.jpg"), init=str(SAMPLES / "harvest.jpg"))
    work = RecipeWork(recipe=recipe, overrides={})
    assert work.files() == {"weights": str(SAMPLES / "chelsea.jpg"), "init": str(SAMPLES / "harvest.jpg")}
    moved = work.moved({"weights": "a.h5", "init": "b.png"}).recipe
    assert (moved.network.weights, moved.start.init) == ("a.h5", "b.png")
    assert RecipeWork(recipe=get_recipe("draft"), overrides={}).files() == {}
    path = tmp_path / "n.keras"
    path.touch()
    assert FastWork(model=str(path), options={}).files() == {"model": str(path)}
    assert FastWork(model=str(path), options={}).moved({"model": "m.keras"}).model == "m.keras"
    assert FastWork(model="starry-night", options={}).files() == {}


@pytest.fixture
def listener():
    """Somebody who listens, but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["local", "127.0.0.1", "http://a:1", "a b:1", "a:1:2", "", "ray://a", "a:99999"])
def test_addresses_of_another_form_are_refused(address):
    with pytest.raises(UsageError, match="`ray` should be HOST:PORT, ray://HOST:PORT or auto"):
        driver.check(address)


def test_an_address_without_anybody_is_named_before_anything_is_made(listener, pair, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tfstyle.cli.batch.quiet_tensorflow", None)
    driver.check(listener)
    driver.check(f"ray://{listener}")
    driver.check("auto")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    words = ["batch", pair[0], "--styles", pair[1], "-o", str(tmp_path / "out"), "--ray", address]
    assert_one_line(capsys, cli.main(words), 9, f"no Ray cluster answers at {address}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_one_line(capsys, cli.main(words), 1, "--ray needs the package ray; pip install 'tfstyle[ray]'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_never_answers_ends_a_batch_and_prints_nothing(scheme, listener, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(driver, "CONNECT", 3.0)
    job = Job(SAMPLES / "chelsea.jpg", None, tmp_path / "out.png")
    with pytest.raises(WorkerError, match=f"^no Ray cluster answers at {scheme}{listener}; start it"):
        list(driver.run([job], Told(tmp_path), address=scheme + listener))
    assert capfd.readouterr() == ("", "")
