"""Batches: which pictures are found, how results are named, what is made, read ahead, and reported."""

import csv
import os
import threading
from pathlib import Path

import pytest
from conftest import image

from tfstyle import batch, images
from tfstyle.batch import Job, Outcome
from tfstyle.errors import InputError, OutputError, UsageError
from tfstyle.styles import Style


@pytest.fixture
def folder(tmp_path, rng):
    """A folder of pictures with a folder in it."""
    for name in (
        "photos/a.jpg",
        "photos/a.png",
        "photos/trip/b.jpg",
        "photos/out/a.night.png",
        "art/x.jpg",
        "art/y.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(image(rng, 12, 16), tmp_path / name)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    (tmp_path / "photos" / "._a.jpg").write_bytes(b"no picture")
    (tmp_path / "photos" / "a.xmp").write_bytes(b"no picture")
    (tmp_path / "photos" / "scan").write_bytes((tmp_path / "photos" / "a.png").read_bytes())
    (tmp_path / "photos" / "trip" / "c.webp").write_bytes(b"damaged")
    return tmp_path


def test_folders_are_searched_but_for_that_of_the_results(folder):
    photos = folder / "photos"
    found = batch.find_contents([photos, photos / "a.jpg", folder / "art" / "x.jpg"], output=photos / "out")
    assert found == [
        (photos / "a.jpg", Path()),
        (photos / "a.png", Path()),
        (photos / "scan", Path()),
        (photos / "trip" / "b.jpg", Path("trip")),
        (photos / "trip" / "c.webp", Path("trip")),
        (folder / "art" / "x.jpg", Path()),
    ]
    with pytest.raises(UsageError, match="is the folder of the pictures"):
        batch.find_contents([photos], output=photos)
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no picture; give"):
        batch.find_contents([folder / "empty"], output=folder / "out")


def test_results_are_named_by_both_pictures_and_apart_where_names_collide(folder):
    contents = batch.find_contents([folder / "photos"], output=folder / "photos" / "out")
    contents = [found for found in contents if found[0].suffix in (".jpg", ".png")]
    styles = batch.expand_styles([str(folder / "art"), "z.jpg:scale=0.5"])
    assert [(Path(style.picture).name, style.weight, style.scale) for style in styles] == [
        ("x.jpg", 1.0, 1.0),
        ("y.jpg", 1.0, 1.0),
        ("z.jpg", 1.0, 0.5),
    ]
    jobs = batch.plan_jobs(contents, styles[:2], Path("o"), suffix=".jpg")
    assert [str(job.output) for job in jobs] == [
        "o/a.jpg.x.jpg.jpg",
        "o/a.jpg.y.jpg.jpg",
        "o/a.png.x.jpg.jpg",
        "o/a.png.y.jpg.jpg",
        "o/trip/b.x.jpg",
        "o/trip/b.y.jpg",
    ]
    twice = batch.plan_pairs([(Path("p/a.jpg"), Style("x.jpg")), (Path("q/a.jpg"), Style("x.jpg"))], Path("o"))
    assert [job.output.name for job in twice] == ["a.jpg.x.jpg.png", "a.jpg.x.jpg-2.png"]
    shards = [batch.select_shard(jobs, f"{number}/4") for number in range(1, 5)]
    assert sorted(job.output for shard in shards for job in shard) == sorted(job.output for job in jobs)
    assert batch.select_shard(jobs, None) == jobs


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/4/2", "-1/4", ""])
def test_shards_of_another_form_are_refused(shard):
    with pytest.raises(UsageError, match="`shard` should be I/N"):
        batch.select_shard([], shard)


def test_pairs_are_read_beside_their_file(folder):
    table = folder / "pairs.csv"
    table.write_text("style,content,note\nart/x.jpg:scale=2,photos/a.jpg,first\nart/y.jpg,photos/trip/b.jpg,\n")
    (one, style), (two, _) = batch.read_pairs(table)
    assert (one, two) == (folder / "photos/a.jpg", folder / "photos/trip/b.jpg")
    assert (style.picture, style.scale) == (folder / "art/x.jpg", 2.0)
    table.write_text('content,style\nphotos/a.jpg,"art/x.jpg:mask=art/y.jpg,style_mask=left"\n')
    ((_, style),) = batch.read_pairs(table)
    assert (style.mask, style.style_mask) == (folder / "art/y.jpg", "left")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("content,style\nphotos/a.jpg,art/none.jpg\n", "line 2 names .*none.jpg, which is no file"),
        ("photo,style\nphotos/a.jpg,art/x.jpg\n", "should name the columns content and style, not 'photo', 'style'"),
        ("content;style\nphotos/a.jpg;art/x.jpg\n", "should name the columns content and style, not 'content;style'"),
        ("content,style\nphotos/a.jpg\n", "line 2 has no content or no style"),
        ("content,style\n", "holds no pairs"),
        ("", "should name the columns content and style, not none"),
        (None, "is no CSV file that can be read"),
    ],
)
def test_tables_that_name_no_pairs_are_refused(text, message, folder):
    table = folder / "pairs.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(InputError, match=message):
        batch.read_pairs(table)


def test_a_table_that_is_no_file_is_not_waited_for(folder):
    os.mkfifo(folder / "pairs.csv")
    with pytest.raises(InputError, match=r"is no CSV file that can be read .a folder, pipe or device"):
        batch.read_pairs(folder / "pairs.csv")
    with pytest.raises(InputError, match="No such file"):
        batch.read_pairs(folder / "none.csv")


def test_table_and_page_of_a_batch_replace_nothing_else(folder):
    batch.write_table(folder / "results.csv", [])
    batch.write_index(folder / "index.html", [])
    batch.check_reports(folder, None)
    for name, text in (("results.csv", "content,style,note\n"), ("index.html", "<h1>my home page</h1>")):
        ours = (folder / name).read_bytes()
        (folder / name).write_text(text)
        with pytest.raises(OutputError, match=f"{name}: exists, and is not from a batch; rename it"):
            batch.check_reports(folder, None)
        batch.check_reports(folder, None, overwrite=True)
        (folder / name).write_bytes(ours)
    with pytest.raises(OutputError, match=r"results\.csv: is read and would be replaced"):
        batch.check_reports(folder, None, pairs=folder / "results.csv", overwrite=True)
    (folder / "index.html").unlink()
    (folder / "index.html").mkdir()
    with pytest.raises(OutputError, match=r"index\.html: is a folder"):
        batch.check_reports(folder, None, overwrite=True)


def test_long_names_do_not_collide(folder):
    contents = [(folder / f"{'a' * 250}.png", Path())]
    jobs = batch.plan_jobs(contents, [Style(f"{name}.png") for name in ("x", "y", "x")], folder)
    assert len({job.output for job in jobs}) == 3
    assert max(len(job.output.name) for job in jobs) == 255


def jobs_of(folder, count=4):
    return [Job(folder / f"{number}.jpg", Style("s.jpg"), folder / f"{number}.png") for number in range(count)]


def test_what_fails_is_passed_over_and_the_rest_is_made_and_written(tmp_path):
    jobs, written = jobs_of(tmp_path), []

    def make(job, read):
        if job == jobs[1]:
            raise InputError("too small.")
        return read + 1

    outcomes = list(
        batch.run(jobs, make, read=lambda job: int(job.content.stem), write=lambda *pair: written.append(pair))
    )
    assert {outcome.job: (outcome.status, outcome.message) for outcome in outcomes} == {
        job: ("failed", "too small.") if job == jobs[1] else ("done", "") for job in jobs
    }
    assert written == [(jobs[0], 1), (jobs[2], 3), (jobs[3], 4)]


def test_what_cannot_be_read_is_passed_over_as_well(tmp_path):
    def read(job):
        if job.content.stem == "2":
            raise InputError("damaged.")

    outcomes = list(batch.run(jobs_of(tmp_path), lambda job, read: None, read=read))
    assert sorted(outcome.job.content.stem for outcome in outcomes if outcome.status == "failed") == ["2"]
    assert len(outcomes) == 4


def test_existing_results_are_skipped(tmp_path):
    jobs = jobs_of(tmp_path)
    jobs[2].output.touch()
    made = []
    outcomes = list(batch.run(jobs, lambda job, read: made.append(job), skip_existing=True))
    assert made == [jobs[0], jobs[1], jobs[3]]
    assert [outcome.job for outcome in outcomes if outcome.status == "skipped"] == [jobs[2]]


def test_a_full_disk_ends_the_batch(tmp_path):
    def write(job, made):
        if job.content.stem == "1":
            raise OutputError("no space left.")

    found = []
    with pytest.raises(OutputError, match="no space left"):
        found.extend(batch.run(jobs_of(tmp_path), lambda job, read: None, write=write))


def test_what_is_made_while_the_last_one_cannot_be_written_is_written(tmp_path):
    written = []

    def write(job, made):
        if job.content.stem == "0":
            raise OutputError("cannot be written")
        written.append(job.content.stem)

    with pytest.raises(OutputError):
        list(batch.run(jobs_of(tmp_path), lambda job, read: job, write=write))
    assert written == ["1"]


def test_the_next_picture_is_read_and_the_last_one_written_meanwhile(tmp_path):
    reading, writing = threading.Event(), threading.Event()
    jobs = jobs_of(tmp_path, 3)

    def read(job):
        if job == jobs[1]:
            reading.set()

    def make(job, _):
        if job == jobs[0]:
            assert reading.wait(10)  # Otherwise the next one would be read only afterwards.
        if job == jobs[1]:
            writing.set()  # Before the first one is written.

    def write(job, _):
        if job == jobs[0]:
            assert writing.wait(10)

    assert [outcome.status for outcome in batch.run(jobs, make, read=read, write=write)] == ["done"] * 3


def test_table_and_index_name_every_job(tmp_path, rng):
    jobs = jobs_of(tmp_path / "a b", 3)
    jobs[0].output.parent.mkdir()
    images.write(image(rng, 300, 400), jobs[0].output)
    jobs.append(Job(tmp_path / "d.jpg", None, tmp_path / "damaged.png"))
    jobs[-1].output.write_bytes(b"damaged")
    outcomes = [
        Outcome(jobs[0], "done", 1.234),
        Outcome(jobs[1], "failed", 0.5, 'a "quoted" <cause>, with a comma'),
        Outcome(Job(jobs[2].content, None, jobs[2].output), "skipped"),
        Outcome(jobs[-1], "skipped"),
    ]
    table, index = (batch.report_path(tmp_path, name, "2/3") for name in (batch.TABLE, batch.INDEX))
    assert (table.name, index.name) == ("results-2-of-3.csv", "index-2-of-3.html")
    for _ in range(2):  # Replaces its own.
        batch.write_table(table, outcomes)
        batch.write_index(index, outcomes)
    rows = list(csv.DictReader(table.open(newline="")))
    assert [row["status"] for row in rows] == ["done", "failed", "skipped", "skipped"]
    assert (rows[0]["output"], rows[0]["seconds"], rows[1]["message"]) == ("a b/0.png", "1.2", outcomes[1].message)
    page = index.read_text()
    assert page.count("<figure>") == 3  # The third has no file.
    assert 'href="a%20b/0.png"' in page
    assert "&lt;cause&gt;" in page
    assert len(page) < 80_000


def test_the_reports_of_a_whole_batch_have_plain_names():
    assert batch.report_path(Path("o"), batch.INDEX, None) == Path("o/index.html")
