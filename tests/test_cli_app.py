"""`tfstyle app`, as a process of its own."""

import importlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import SAMPLES, assert_one_line
from PIL import Image
from servers import finish, follow, serve_in_process, wait_for

from tfstyle import cli
from tfstyle.cli import app as command

JOB = {
    "content_name": "chelsea.jpg",
    "style_names": ["harvest.jpg"],
    "recipe": "tensorflow-tutorial",
    "steps": "40",
    "size": "64",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A client and the process of a server with the embedded network, and the folder of its jobs."""
    folder = tmp_path_factory.mktemp("app") / "kept"
    with serve_in_process(folder) as (client, process):
        yield client, process, folder


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_command_that_is_shown_makes_the_same_pixels(served, tmp_path, monkeypatch):
    client, _, _ = served
    last = finish(client, client.post("/v1/jobs", data=JOB).json())
    assert last["state"] == "done"
    monkeypatch.chdir(SAMPLES)
    words = last["command"].split()[1:]
    assert cli.main([*words, "-o", str(tmp_path / "again.png")]) == 0
    np.testing.assert_array_equal(
        pixels((tmp_path / "again.png").read_bytes()), pixels(client.get(last["result"]).content)
    )


def test_a_dot_as_a_painting_is_one_line(served):
    client, _, _ = served
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    data = {name: value for name, value in JOB.items() if name != "style_names"}
    job = client.post("/v1/jobs", data=data, files=[("styles", ("dot.png", stream.getvalue()))]).json()
    last = finish(client, job)
    assert last["state"] == "done" or "too small" in last["message"]


def test_a_page_that_was_closed_frees_the_machine(served):
    client, _, _ = served
    job = client.post("/v1/jobs", data={**JOB, "size": "256", "steps": "300", "attended": "true"}).json()
    for event in follow(client, job):
        if event["step"]:
            break  # The connection is closed, as when a tab is.
    began = time.monotonic()
    wait_for(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] == "stopped", 20)
    last = client.get(f"/v1/jobs/{job['id']}").json()
    assert time.monotonic() - began < 10  # Two seconds and a step.
    assert (last["message"], last["can_go_on"]) == ("the page was closed", True)
    assert last["step"] < last["steps"]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_stopped_server_keeps_its_run_which_goes_on_to_the_same_pixels(tmp_path):
    with serve_in_process(tmp_path / "kept") as (client, process):
        whole = finish(client, client.post("/v1/jobs", data=JOB).json())
        expected = pixels(client.get(whole["result"]).content)
        job = client.post("/v1/jobs", data=JOB).json()
        events = follow(client, job)
        while next(events)["step"] is None:
            pass
        process.send_signal(signal.SIGINT)
        *_, last = events  # The stream ends.
        assert last["state"] in ("running", "stopped")
        assert process.wait(20) == 130
        assert process.stderr.read().splitlines()[-1:] == ["interrupted."]
    with serve_in_process(tmp_path / "kept") as (client, process):
        found = client.get(f"/v1/jobs/{job['id']}").json()
        assert (found["state"], found["message"], found["can_go_on"]) == ("stopped", "the server was stopped", True)
        client.post(f"/v1/jobs/{job['id']}/resume")
        last = finish(client, job)
        assert last["state"] == "done"
        np.testing.assert_array_equal(pixels(client.get(last["result"]).content), expected)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_two_signals_end_it_at_once(tmp_path):
    with serve_in_process(tmp_path / "kept") as (client, process):
        job = client.post("/v1/jobs", data={**JOB, "size": "512", "steps": "300"}).json()
        for event in follow(client, job):
            if event["step"] and event["step"] > 1:
                break
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
        assert process.stderr.read().splitlines()[-1:] == ["interrupted."]
    names = {path.name for path in (tmp_path / "kept" / job["id"]).iterdir()}
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.slow
def test_memory_is_flat_over_many_uploads(served):
    client, _, _ = served

    def memory():
        return float(re.search(r"^process_resident_memory_bytes (.+)$", client.get("/metrics").text, re.M)[1])

    taken = []
    for number in range(20):
        size = ("64", "96", "80", "128")[number % 4]
        upload = ("colosseum.jpg", (SAMPLES / "colosseum.jpg").read_bytes())
        options = {"fast": "true"} if number % 2 else {"recipe": "tensorflow-tutorial", "steps": "3"}
        files = [("content", upload), ("styles", ("harvest.jpg", (SAMPLES / "harvest.jpg").read_bytes()))]
        assert (
            finish(client, client.post("/v1/jobs", files=files, data={"size": size, **options}).json())["state"]
            == "done"
        )
        taken.append(memory())
    assert taken[-1] <= 1.1 * taken[9], [round(each / 1e6) for each in taken]


def test_a_port_in_use_and_a_folder_in_use_are_one_line(served, tmp_path, capsys):
    _, _, folder = served
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["app", "--port", str(taken.getsockname()[1]), "-o", str(tmp_path / "kept")]
        assert_one_line(capsys, cli.main(words), 2, "(address already in use); choose another --port or --host")
    assert not (tmp_path / "kept" / "x").exists()
    assert_one_line(capsys, cli.main(["app", "--port", "0", "-o", str(folder)]), 4, "another tfstyle app keeps")
    (tmp_path / "closed" / ".lock").mkdir(parents=True)
    words = ["app", "--port", "0", "-o", str(tmp_path / "closed")]
    assert_one_line(capsys, cli.main(words), 4, "cannot be written (Is a directory); name another folder")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--max-size", "10"], 2, "--max-size should be at least 64 pixels, not 10"),
        (["--max-upload", "much"], 2, "--max-upload should be an amount of memory"),
        (["--memory", "much"], 2, "--memory should be an amount of memory"),
        (["--gallery", "nowhere"], 3, "nowhere: is no folder"),
        (["--host", "no.such.host.invalid"], 2, "cannot be used"),
        (["--port", "99999"], 2, "--port should be 0 to 65535, not 99999"),
        (["-o", "a/b/c"], 4, "there is no folder"),
    ],
)
def test_bad_options_are_one_line(words, code, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert_one_line(capsys, cli.main(["app", "--no-browser", *words]), code, text)
    assert not list(tmp_path.iterdir()) or [path.name for path in tmp_path.iterdir()] == ["tfstyle-app"]


def test_without_its_packages_it_names_the_extra(monkeypatch, tmp_path, capsys):
    def fail(name):
        raise ImportError(name)

    load = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: fail(name) if name == "fastapi" else load(name))
    words = ["app", "-o", str(tmp_path)]
    assert_one_line(capsys, cli.main(words), 1, "needs the package fastapi; pip install 'tfstyle[app]'")


def test_another_host_needs_a_token_and_is_warned_of(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tfstyle",
        "app",
        "--port",
        "0",
        "--no-browser",
        "--host",
        "0.0.0.0",
        "-o",
        str(tmp_path / "kept"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline()
        assert "?token=" in url
    finally:
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert "anyone who knows the address" in err


def test_the_page_is_opened_in_the_browser(monkeypatch, tmp_path, capsys):
    from tfstyle.app import server

    opened = []
    monkeypatch.setattr(server, "serve", lambda listener, folder, on_start, **options: (listener.close(), on_start()))
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    assert cli.main(["app", "--port", "0", "-o", str(tmp_path)]) == 0
    wait_for(lambda: opened)
    assert capsys.readouterr().out.split() == opened
    assert opened[0].startswith("http://127.0.0.1:")
    assert cli.main(["app", "--port", "0", "-o", str(tmp_path), "--no-browser", "--json"]) == 0
    assert len(opened) == 1
