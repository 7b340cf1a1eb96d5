"""Tiles divided among devices and machines: the same loss, gradient, run and training as on one device."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from tfstyle import distribution, images
from tfstyle.distribution import LOST_MESSAGE, Devices
from tfstyle.errors import UsageError

PROGRAM = [sys.executable, str(ROOT / "tests" / "several_devices.py")]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_workers(words, *, count=2, **options):
    """Processes that run a command as workers on loopback."""
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(count)]}
    return [
        subprocess.Popen(
            words,
            env=os.environ
            | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": number}})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        for number in range(count)
    ]


def read_facts(out):
    """The facts that a program told, name → their values."""
    facts = {}
    for line in out.splitlines():
        for name, value in json.loads(line).items():
            facts.setdefault(name, []).append(value)
    return facts


@pytest.fixture(scope="module")
def on_two_devices():
    done = subprocess.run([*PROGRAM, "devices"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return read_facts(done.stdout)


@pytest.fixture(scope="module")
def on_two_workers(tmp_path_factory):
    """The facts of both workers, of which the second is killed at the end."""
    folder = tmp_path_factory.mktemp("workers")
    workers = start_workers([*PROGRAM, "workers", str(folder)])
    (first, errors), (second, more) = (worker.communicate(timeout=400) for worker in workers)
    codes = [worker.returncode for worker in workers]
    assert codes == [0, -9], (errors + more)[-4000:]
    return read_facts(first), read_facts(second)


def test_two_devices_give_the_loss_and_the_gradient_of_one(on_two_devices):
    assert on_two_devices["count"] == [2]
    assert on_two_devices["evaluations"] == [5]
    assert on_two_devices["error"][0] < 1e-12
    assert on_two_devices["run"][0] < 1e-5


def test_two_workers_give_the_loss_and_the_gradient_of_one(on_two_workers):
    for number, facts in enumerate(on_two_workers):
        assert facts["workers"] == [[2, number, 1]]
        assert facts["evaluations"] == [7]
        assert facts["error"][0] < 1e-12
        assert facts["run"][0] < 1e-5


def test_workers_exchange_numbers_tensors_and_facts(on_two_workers):
    for number, facts in enumerate(on_two_workers):
        assert facts["rows"] == [[[[0, 48], [0, 32]], [[48, 100], [32, 64]]][number]]
        assert facts["gathered"] == [[7.0, 8.0]]
        assert facts["agreed"] == [[5]]
        assert facts["refused"] == [
            "worker 1 has another color than worker 0; start all with the same.",
            "an image of 31 rows cannot be divided among 2 workers; start fewer workers, or choose a larger `size`.",
        ]


def test_two_workers_train_what_one_does_and_the_chief_alone_writes(on_two_workers):
    chief, _ = on_two_workers
    assert chief["trained"] == [["losses.csv", "losses.png", "network.keras", "samples", "state.npz"]]
    shared, alone = ([line.split(",") for line in text.split()] for text in chief["losses"][0])
    assert shared[0] == alone[0]
    for found, expected in zip(shared[1:], alone[1:], strict=True):
        assert list(map(float, found)) == pytest.approx(list(map(float, expected)), rel=1e-5)


def test_a_lost_worker_ends_a_run_in_one_line_and_keeps_picture_and_checkpoint(on_two_workers):
    chief, _ = on_two_workers
    assert chief["lost"] == [["WorkerError", 9, LOST_MESSAGE]]
    assert {"out.png", "checkpoint.npz"} <= set(chief["left"][0])


@pytest.mark.slow
def test_the_command_line_divides_a_run_and_the_chief_alone_reports(tmp_path):
    pictures = [ROOT / "tfstyle" / "data" / "samples" / name for name in ("colosseum.jpg", "starry_night.jpg")]
    options = [
        "--recipe",
        "tensorflow-tutorial",
        "--size",
        "640",
        "--steps",
        "3",
        "--memory",
        "550MB",
        "--precision",
        "float32",
    ]
    words = [sys.executable, "-m", "tfstyle", "stylize", *map(str, pictures), *options]
    workers = start_workers([*words, "-q", "-o", str(tmp_path / "two.png")])
    outputs = [worker.communicate(timeout=600) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert [out for out, _ in outputs] == [f"{tmp_path / 'two.png'}\n", ""]
    subprocess.run([*words, "-q", "-o", str(tmp_path / "one.png")], check=True, capture_output=True)
    one, two = (images.read(tmp_path / f"{name}.png").image for name in ("one", "two"))
    np.testing.assert_allclose(two, one, atol=2 / 255)


def test_one_device_has_all_rows_and_agrees_with_itself():
    devices = Devices()
    assert (devices.count, devices.workers, devices.index) == (1, 1, 0)
    assert devices.rows(17) == (0, 17)
    assert devices.gather(3.5) == [3.5]
    devices.check_same("anything", {"a": 1})


@pytest.mark.parametrize(
    ("config", "workers", "chief"),
    [
        ("", 0, True),
        ('{"task": {"type": "worker", "index": 0}}', 0, True),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}', 0, True),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}', 2, False),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}', 2, False),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": "0"}}', 2, True),
    ],
)
def test_workers_are_counted_from_tf_config(config, workers, chief, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    assert distribution.count_workers() == workers
    assert distribution.is_chief() == chief


@pytest.mark.parametrize(
    "config",
    [
        "two machines",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": 3}, "task": {}}',
    ],
)
def test_a_wrong_tf_config_is_one_line(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match=r"^TF_CONFIG should be JSON with the addresses .*; correct it, or unset it"):
        distribution.join_workers()
