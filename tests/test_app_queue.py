"""The queue of the page and the API."""

import threading
from pathlib import Path

import pytest
from servers import wait_for

from tfstyle import errors
from tfstyle.app import jobs
from tfstyle.app.jobs import Job
from tfstyle.app.queue import Queue
from tfstyle.app.schema import describe
from tfstyle.app.tasks import CHECKPOINT, Painting, Task
from tfstyle.environment import tf
from tfstyle.steps import Step

TASK = Task(content="photo.jpg", paintings=(Painting(picture="painting.png"),))


def make_step(index, total=4):
    shade = tf.fill([1, 24, 36, 3], index / total)
    return Step(index, total, 1, 2, shade, {"total": 10.0 / index}, 2.0 * index, progress=index / total)


class Work:
    """In place of the runs: each waits for its steps to be let go, and counts."""

    def __init__(self):
        self.gate, self.made, self.failure, self.begins = threading.Semaphore(0), [], None, {}

    def make(self, task, folder, *, callbacks, memory):
        self.made.append(folder.name)
        (folder / CHECKPOINT).mkdir(exist_ok=True)
        for index in range(self.begins.get(folder.name, 0) + 1, 5):
            assert self.gate.acquire(timeout=30)
            if self.failure:
                raise self.failure
            if any(callback(make_step(index)) for callback in callbacks):
                break
        self.begins[folder.name] = index
        (folder / task.result).write_bytes(b"%d" % index)
        return 24, 36

    def go(self, steps=4):
        for _ in range(steps):
            self.gate.release()


@pytest.fixture
def work(monkeypatch):
    work = Work()
    monkeypatch.setattr(Task, "make", lambda task, folder, **options: work.make(task, folder, **options))
    return work


@pytest.fixture
def queue(tmp_path, work):
    ended = []
    queue = Queue(tmp_path, on_end=lambda job, seconds: ended.append(job.key))
    queue.ended = ended
    queue.start()
    yield queue
    queue.close()
    work.go(100)
    wait_for(lambda: not queue.is_working)


def add(queue, **options):
    key, folder = queue.make_folder()
    job = Job(key=key, folder=folder, task=TASK, **options)
    queue.add(job)
    return job


def test_jobs_are_made_one_after_another_in_their_order(queue, work):
    every = [add(queue) for _ in range(3)]
    wait_for(lambda: every[0].state == jobs.RUNNING)
    assert [queue.place(job) for job in every] == [0, 1, 2]
    work.go(12)
    wait_for(lambda: len(queue.ended) == 3)
    assert work.made == queue.ended == [job.key for job in every]
    assert [job.progress for job in every] == [1.0] * 3
    assert every[0].result.read_bytes() == b"4"
    assert every[0].curve == [(1, 1, 10.0), (2, 1, 5.0), (3, 1, 10.0 / 3), (4, 1, 2.5)]
    assert not (every[0].folder / CHECKPOINT).exists()
    assert queue.length == 0


def test_a_listener_hears_every_change_and_sees_the_image(queue, work):
    heard = []
    job = add(queue)
    with job.listen(lambda: heard.append((job.state, job.facts.get("step")))):
        for index in range(1, 5):
            work.go(1)
            wait_for(lambda index=index: job.facts.get("step") == index)
        wait_for(lambda: heard[-1][0] == jobs.DONE)
    assert [entry[1] for entry in heard if entry[0] == jobs.RUNNING and entry[1]] == [1, 2, 3, 4]
    assert job.preview.startswith(b"\xff\xd8")
    assert job.facts["steps"] == 4


def test_a_run_that_is_stopped_ends_after_its_step_and_can_go_on(queue, work):
    job = add(queue)
    work.go(2)
    wait_for(lambda: job.facts.get("step") == 2)
    assert not describe(job, queue)["is_stopping"]
    queue.stop(job, "you stopped it")
    assert describe(job, queue)["is_stopping"]
    work.go(1)
    wait_for(lambda: job.is_over)
    assert not describe(job, queue)["is_stopping"]
    assert (job.state, job.message, job.result.read_bytes()) == (jobs.STOPPED, "you stopped it", b"3")
    assert job.can_go_on
    queue.add(job)
    assert (job.state, job.message, job.result) == (jobs.QUEUED, "", None) or job.state == jobs.RUNNING
    work.go(1)
    wait_for(lambda: job.state == jobs.DONE)
    assert job.result.read_bytes() == b"4"


def test_a_waiting_job_that_is_stopped_never_begins(queue, work):
    first, second, third = (add(queue) for _ in range(3))
    wait_for(lambda: first.state == jobs.RUNNING)
    queue.stop(second, "you stopped it")
    assert (second.state, second.result) == (jobs.STOPPED, None)
    assert queue.place(third) == 1
    work.go(8)
    wait_for(lambda: third.state == jobs.DONE)
    assert second.key not in work.made


def test_an_attended_job_that_nobody_follows_is_stopped(queue, work, monkeypatch):
    monkeypatch.setattr("tfstyle.app.queue._UNWATCHED_SECONDS", 0.05)
    monkeypatch.setattr("tfstyle.app.queue._SECONDS_TO_BEGIN", 0.0)
    followed, left, of_client = add(queue, attended=True), add(queue, attended=True), add(queue)
    with followed.listen(lambda: None):
        wait_for(lambda: queue.stop_unattended() or left.state == jobs.STOPPED)
        assert left.message == "the page was closed"
        assert (followed.stopping, of_client.state) == ("", jobs.QUEUED)
    wait_for(lambda: queue.stop_unattended() or followed.stopping)
    work.go(5)
    wait_for(lambda: of_client.state == jobs.DONE)
    assert followed.state == jobs.STOPPED


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (errors.InputError("{folder}/photo.jpg: needs a `size` of 64."), "photo.jpg: needs a size of 64."),
        (MemoryError(), "memory ran out"),
        (OSError(28, "No space left on device"), "cannot be written (No space left on device)"),
        (RuntimeError("odd"), "RuntimeError: odd (this is a bug"),
    ],
)
def test_a_failure_has_a_message_and_the_next_job_is_made(failure, message, queue, work):
    job = add(queue)
    if isinstance(failure, errors.InputError):
        failure = type(failure)(str(failure).format(folder=job.folder))
    work.failure = failure
    work.go(1)
    wait_for(lambda: job.is_over)
    assert job.state == jobs.FAILED
    assert message in job.message
    assert str(job.folder) not in job.message
    work.failure = None
    later = add(queue)
    work.go(4)
    wait_for(lambda: later.state == jobs.DONE)


def test_a_job_that_is_deleted_leaves_nothing(queue, work, tmp_path):
    running, waiting = add(queue), add(queue)
    wait_for(lambda: running.state == jobs.RUNNING)
    for job in (waiting, running):
        queue.remove(job)
        assert job.key not in queue.jobs
    work.go(1)
    wait_for(lambda: not list(tmp_path.iterdir()))
    assert queue.ended == []


def test_what_was_deleted_while_it_ran_does_not_come_back(queue, work, tmp_path):
    job = add(queue)
    wait_for(lambda: job.state == jobs.RUNNING)
    queue.remove(job)
    assert job.folder.exists()
    assert Queue(tmp_path).jobs == {}  # As if this server had been killed.


def test_a_stopped_job_goes_on_once_and_a_deleted_one_never(queue, work):
    running, job = add(queue), add(queue)
    wait_for(lambda: running.state == jobs.RUNNING)
    queue.stop(job, "you stopped it")
    assert [queue.resume(job), queue.resume(job)] == [True, False]
    assert queue.length == 1
    queue.stop(job, "you stopped it")
    queue.remove(job)
    assert not queue.resume(job)
    assert queue.length == 0


def test_a_later_server_finds_what_was_done_and_offers_the_rest(work, tmp_path, caplog):
    queue = Queue(tmp_path)
    queue.start()
    done, running = add(queue), add(queue, visitor="v")
    work.go(6)
    wait_for(lambda: running.facts.get("step") == 2)
    of_page, of_client = add(queue, attended=True), add(queue)
    queue.close()
    work.go(1)
    wait_for(lambda: not queue.is_working)
    _, cut_off = queue.make_folder()
    (cut_off / "photo.jpg").write_bytes(b"half")
    (tmp_path / "mine").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / jobs.STATE).write_text("{")
    work.begins[running.key] = 3
    again = Queue(tmp_path)
    found = {name: again.jobs[job.key] for name, job in [("done", done), ("running", running), ("page", of_page)]}
    assert {name: job.state for name, job in found.items()} == {"done": "done", "running": "stopped", "page": "stopped"}
    assert (found["running"].message, found["running"].visitor) == ("the server was stopped", "v")
    assert found["running"].can_go_on
    assert found["running"].curve == running.curve
    assert found["done"].task == TASK
    assert found["done"].preview
    assert again.jobs[of_client.key].state == jobs.QUEUED
    assert not cut_off.exists()
    assert (tmp_path / "mine").exists()
    assert damaged.exists()
    assert "damaged: is left alone" in caplog.text
    again.start()
    work.go(4)
    wait_for(lambda: again.jobs[of_client.key].state == jobs.DONE)
    again.close()


def test_a_killed_server_leaves_its_run_unfinished(work, tmp_path):
    queue = Queue(tmp_path)
    job = Job(key="k", folder=tmp_path / "k", task=TASK, state=jobs.RUNNING)
    job.folder.mkdir()
    job.save()
    assert Queue(tmp_path).jobs["k"].state == jobs.STOPPED
    assert queue.is_open


def test_where_nothing_can_be_kept_a_job_is_made_all_the_same(queue, work, monkeypatch, caplog):
    def fail(path, data, overwrite):
        raise errors.OutputError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(jobs.files, "save_atomically", fail)
    job = add(queue)
    work.go(4)
    wait_for(lambda: job.state == jobs.DONE)
    assert "No space left" in caplog.text


def test_a_result_that_was_saved_elsewhere_is_for_the_operator_alone(queue, work, caplog):
    error = errors.OutputError("out.png: cannot be written (No space left on device); saved as /home/me/out.png.")
    error.saved = Path("/home/me/out.png")
    work.failure = error
    job = add(queue)
    work.go(1)
    wait_for(lambda: job.state == jobs.FAILED)
    assert job.message == "the server could not keep the result in its folder; ask who runs it."
    assert "saved as /home/me/out.png" in caplog.text
