"""The JSON API, through a server and a client."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import SAMPLES, image
from PIL import Image
from servers import finish, follow, serve_in_thread, wait_for

from tfstyle import images
from tfstyle.app import jobs, routes
from tfstyle.recipes import catalog


@pytest.fixture
def served(tmp_path, mini_network, monkeypatch):
    """A client and the queue of a server whose recipe is the miniature's."""
    recipe = catalog.RECIPES["default"]
    monkeypatch.setattr(catalog, "RECIPES", {"default": recipe, "balanced": recipe})
    (tmp_path / "kept").mkdir()
    with serve_in_thread(tmp_path / "kept") as (client, queue):
        yield client, queue


@pytest.fixture
def client(served):
    return served[0]


def encoded(pixels, format="PNG"):
    stream = io.BytesIO()
    Image.fromarray(np.uint8(255 * pixels[0])).save(stream, format)
    return stream.getvalue()


@pytest.fixture
def uploads(rng):
    """The files of a photograph and a painting."""
    photo, painting = encoded(image(rng, 60, 90)), encoded(image(rng, 50, 70), "JPEG")
    return [("content", ("photo.png", photo)), ("styles", ("my painting.jpg", painting))]


def test_a_job_from_its_files_to_its_result(client, uploads):
    answer = client.post("/v1/jobs", files=uploads, data={"size": "48", "seed": "3"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["command"] == "tfstyle stylize photo.png 'my painting.jpg' --size 48 --seed 3"
    every = list(follow(client, job))
    assert every[-1]["state"] == "done"
    assert [row[0] for event in every for row in event["curve"]] == [1, 2, 3]
    assert (every[-1]["width"], every[-1]["height"], every[-1]["steps"]) == (48, 32, 3)
    result = client.get(every[-1]["result"])
    assert result.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(result.content)).size == (48, 32)
    preview = client.get(every[-1]["preview"])
    assert Image.open(io.BytesIO(preview.content)).format == "JPEG"
    photo = Image.open(io.BytesIO(client.get(f"/v1/jobs/{job['id']}/content").content))
    assert (photo.format, photo.size) == ("JPEG", (90, 60))
    assert client.get(f"/v1/jobs/{job['id']}").json() == {
        name: value for name, value in every[-1].items() if name != "curve"
    }


def test_the_archive_holds_all_that_the_command_needs(client, uploads):
    mask = encoded(np.ones((1, 6, 9, 3)))
    files = [*uploads, ("masks", ("photo.my painting.png", mask)), ("protect", ("photo.png", mask))]
    last = finish(client, client.post("/v1/jobs", files=files, data={"size": "48"}).json())
    assert last["state"] == "done", last
    assert last["command"] == (
        "tfstyle stylize photo.png 'my painting.jpg:mask=mask.png' --size 48 --protect protect.png"
    )
    answer = client.get(f"/v1/jobs/{last['id']}/archive")
    assert "photo.my%20painting.zip" in answer.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    names = {"photo.png", "my painting.jpg", "mask.png", "protect.png", "command.txt"}
    assert set(archive.namelist()) == names | {"photo.my painting.png", "photo.my painting.json"}
    assert archive.read("command.txt").decode() == last["command"] + "\n"
    record = json.loads(archive.read("photo.my painting.json"))
    assert record["inputs"]["style"]["name"] == "my painting.jpg"


def test_one_pass_and_samples_by_name(client):
    names = {"content_name": "chelsea.jpg", "style_names": ["harvest.jpg"], "fast": "true", "size": "64"}
    last = finish(client, client.post("/v1/jobs", data=names).json())
    assert last["state"] == "done", last
    assert last["command"] == "tfstyle fast chelsea.jpg harvest.jpg --size 64"
    network = {"content_name": "chelsea.jpg", "model": "starry-night", "size": "64"}
    last = finish(client, client.post("/v1/jobs", data=network).json())
    assert (last["state"], last["name"]) == ("done", "chelsea.starry-night.png")
    assert client.get("/v1/samples/harvest.jpg").content == (SAMPLES / "harvest.jpg").read_bytes()


def test_files_of_one_name_are_told_apart(client, uploads):
    same = [(kind, ("image.png", data)) for kind, (_, data) in uploads]
    job = client.post("/v1/jobs", files=[*same, same[1]], data={"size": "48", "weights": ["1", "2"]}).json()
    assert job["command"] == "tfstyle stylize image.png image-2.png image-3.png:weight=2 --size 48"


@pytest.mark.parametrize(
    ("data", "drop", "message"),
    [
        ({}, "content", "give a photograph: content, or"),
        ({"content_name": "chelsea.jpg"}, "", "give a photograph: content, or"),
        ({}, "styles", "give a painting: styles, or"),
        ({"style_names": ["../../../etc/passwd"]}, "", "there is no sample picture '../../../etc/passwd'"),
        ({"size": "9000"}, "", "size should be at most 2048 here, not 9000"),
        ({"size": "many"}, "", "size: input should be a valid integer"),
        ({"strength": "7"}, "", "strength: input should be less than or equal to 1"),
        ({"color": "blue"}, "", "color: input should be 'style'"),
        ({"recipe": "nonsense"}, "", "recipe: input should be 'balanced'"),
        ({"weights": ["1", "2"]}, "", "1 paintings have 2 weights; give one for each"),
        ({"weights": ["-1"]}, "", "weight should be"),
        ({"mask_names": ["left", "right"]}, "", "1 paintings have 2 masks"),
        ({"weights": ["nan"]}, "", "weight should be"),
        ({"weights": ["1e300"]}, "", "weight should be"),
        ({"style_weight": "1e300"}, "", "style_weight: input should be less than or equal to 34"),
        ({"colr": "content"}, "", "colr: extra inputs are not permitted"),
        ({"init": "/etc/passwd"}, "", "init: extra inputs are not permitted"),
        ({"weights_file": "x"}, "", "weights_file: extra"),
        ({"fast": "true", "style_weight": "2"}, "", "style_weight is no option of one pass"),
    ],
    ids=lambda value: str(value),
)
def test_a_bad_form_is_refused_in_one_line_and_leaves_nothing(client, uploads, tmp_path, data, drop, message):
    answer = client.post("/v1/jobs", files=[each for each in uploads if each[0] != drop], data=data)
    assert answer.status_code == 422
    assert message in answer.json()["message"]
    assert "\n" not in answer.json()["message"]
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.parametrize(
    ("pixels", "state", "message"),
    [
        (np.zeros((1, 2, 100_000, 3)), 202, "is too small at"),
        (b"\x89PNG\r\n\x1a\nnonsense", 422, "picture.png"),
        (b"", 422, "picture.png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "picture.png"),
    ],
    ids=["narrow", "damaged", "empty", "svg"],
)
@pytest.mark.parametrize("place", ["content", "styles"])
def test_pictures_that_cannot_be_used_get_a_message(client, uploads, place, pixels, state, message):
    data = pixels if isinstance(pixels, bytes) else encoded(pixels)
    files = [each for each in uploads if each[0] != place] + [(place, ("picture.png", data))]
    answer = client.post("/v1/jobs", files=files, data={"size": "48"})
    assert answer.status_code == state
    last = finish(client, answer.json()) if state == 202 else answer.json()
    assert message in last["message"]
    assert "/tmp" not in last["message"]


def test_a_job_is_stopped_goes_on_and_is_deleted(served, uploads, tmp_path, monkeypatch):
    client, _ = served
    observed = jobs.Observer.__call__

    def slow(observer, step):
        wait_for(lambda: observer._job.stopping or step.index < 2 or observer._job.facts["step"] > 1)
        return observed(observer, step)

    monkeypatch.setattr(jobs.Observer, "__call__", slow)
    job = client.post("/v1/jobs", files=uploads, data={"size": "48"}).json()
    address = f"/v1/jobs/{job['id']}"
    assert client.get(f"{address}/result").status_code == 409
    assert client.post(f"{address}/resume").status_code == 409
    wait_for(lambda: client.get(address).json()["step"] == 1)
    client.post(f"{address}/stop")
    last = finish(client, job)
    assert (last["state"], last["message"], last["step"], last["can_go_on"]) == ("stopped", "you stopped it", 2, True)
    assert client.get(last["result"]).status_code == 200
    assert client.post(f"{address}/resume").json()["state"] in ("queued", "running")
    last = finish(client, job)
    assert (last["state"], last["can_go_on"]) == ("done", False)
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404
    wait_for(lambda: not list((tmp_path / "kept").iterdir()))


def test_only_the_browser_that_made_a_job_lists_it(client, uploads):
    client.get("/")
    assert client.cookies["tfstyle_visitor"]
    job = client.post("/v1/jobs", files=uploads, data={"size": "48"}).json()
    finish(client, job)
    assert [each["id"] for each in client.get("/v1/jobs").json()] == [job["id"]]
    client.cookies.clear()
    assert client.get("/v1/jobs").json() == []


def test_a_full_queue_says_so(client, uploads, monkeypatch):
    monkeypatch.setattr(routes, "LONGEST_QUEUE", 0)
    answer = client.post("/v1/jobs", files=uploads)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert "0 pictures are waiting" in answer.json()["message"]


def test_a_full_disk_is_no_input_error(client, uploads, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfstyle.app.uploads.shutil.copyfileobj", fail)
    answer = client.post("/v1/jobs", files=uploads)
    assert answer.status_code == 507
    assert answer.json()["message"] == "photo.png: cannot be kept (No space left on device); make room."
    assert not list((tmp_path / "kept").iterdir())


def test_a_full_temporary_folder_is_no_input_error(client, uploads, monkeypatch):
    def fail(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", fail)
    answer = client.post("/v1/jobs", files=uploads)
    assert answer.status_code == 507
    assert answer.json()["message"] == "the server has no room for the pictures; try again later."


def test_the_photograph_is_reduced_once(client, uploads, monkeypatch):
    job = client.post("/v1/jobs", files=uploads).json()
    first = client.get(f"/v1/jobs/{job['id']}/content")
    assert first.headers["content-type"] == "image/jpeg"
    monkeypatch.setattr(routes.images, "read", None)
    assert client.get(f"/v1/jobs/{job['id']}/content").content == first.content


def test_many_uploads_at_once_are_made_in_their_order(served, uploads):
    client, queue = served

    def upload(size):
        return client.post("/v1/jobs", files=uploads, data={"size": str(size)}).json()

    with ThreadPoolExecutor(8) as pool:
        every = list(pool.map(upload, (48, 64) * 8))
    assert [finish(client, job)["state"] for job in every] == ["done"] * 16
    created = [job.created for job in queue.jobs.values()]  # In the order of the queue.
    assert created == sorted(created)


def test_health_metrics_and_offer(served, uploads):
    client, queue = served
    assert client.get("/healthz").json() == {"status": "ok"}
    offer = client.get("/v1").json()
    assert offer["largest_size"] == 2048
    assert {"name": "chelsea.jpg", "kind": "photograph", "title": "Chelsea"} in offer["samples"]
    assert client.get("/metrics").status_code == 200
    queue.close()
    wait_for(lambda: not queue.is_working)
    assert client.get("/healthz").status_code == 503


def test_what_is_not_there_is_said_in_json(client):
    outside = ("/v1/samples/..%2f..%2fsetup.cfg", "/static/../server.py", "/static/..%2fserver.py")
    for path in ("/v1/jobs/nonsense", "/v1/samples/x", "/nothing", *outside):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "message" in answer.json()


def test_the_page_and_its_files_are_sent_and_load_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for path in ("page.js", "board.js", "page.css", "icon.svg"):
        text = client.get(f"/static/{path}").text
        assert text
        assert "http" not in text.replace("http://www.w3.org", "")
    assert "http" not in page.text


def test_the_description_names_every_route_and_every_option(client):
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    assert set(described["paths"]) == {
        "/healthz",
        "/metrics",
        "/v1",
        "/v1/samples/{name}",
        "/v1/jobs",
        *(f"/v1/jobs/{{key}}{end}" for end in ("", "/events", "/stop", "/resume", "/preview", "/result", "/content")),
        "/v1/jobs/{key}/archive",
    }
    (kind,) = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert kind == "multipart/form-data"
    form = described["components"]["schemas"]["JobForm"]["properties"]
    assert {"content", "styles", "masks", "size", "strength", "style_weight", "color"} <= set(form)
    assert not {"weights_file", "init"} & set(form)


def test_a_picture_that_only_this_library_reads_is_accepted(client, uploads, rng, tmp_path):
    images.write(image(rng, 60, 90), tmp_path / "p.tif")
    files = [("content", ("p.tif", (tmp_path / "p.tif").read_bytes())), uploads[1]]
    job = client.post("/v1/jobs", files=files, data={"size": "48"}).json()
    assert finish(client, job)["state"] == "done"
    assert Image.open(io.BytesIO(client.get(f"/v1/jobs/{job['id']}/content").content)).format == "JPEG"


def test_a_photograph_is_shown_upright_beside_its_picture(client, uploads, rng):
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # Turned by 90 degrees.
    Image.fromarray(np.uint8(255 * image(rng, 60, 90)[0])).save(stream, "JPEG", exif=exif)
    files = [("content", ("p.jpg", stream.getvalue())), uploads[1]]
    last = finish(client, client.post("/v1/jobs", files=files, data={"size": "48"}).json())
    shown = (Image.open(io.BytesIO(client.get(last[name]).content)).size for name in ("result", "preview"))
    assert [*shown] == [(32, 48), (32, 48)]
    assert Image.open(io.BytesIO(client.get(f"/v1/jobs/{last['id']}/content").content)).size == (60, 90)
