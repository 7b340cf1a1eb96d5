"""The jobs of the page and the API: what is noted of their steps, previews, keys."""

import json

import numpy as np

from tfstyle import images
from tfstyle.app import jobs
from tfstyle.app.jobs import Job
from tfstyle.app.tasks import Painting, Task
from tfstyle.environment import tf
from tfstyle.steps import Step

TASK = Task(content="photo.jpg", paintings=(Painting(picture="painting.png"),))


def test_the_steps_after_a_checkpoint_are_noted_once(tmp_path):
    job = Job(key="k", folder=tmp_path, task=TASK, curve=[(1, 1, 9.0), (2, 1, 8.0), (3, 1, 7.0)])
    observer = jobs.Observer(job)
    observer.restore([{"step": 1, "level": 1, "total": 9.0}, {"step": 2, "level": 1, "total": 8.0}])
    observer(Step(3, 4, 1, 2, tf.zeros([1, 24, 36, 3]), {"total": 3.0}, 6.0, progress=0.75))
    assert [row[0] for row in job.curve] == [1, 2, 3]
    assert json.loads(json.dumps(job.facts))["step"] == 3


def test_a_preview_is_small_and_looks_like_the_image(tmp_path):
    job = Job(key="k", folder=tmp_path, task=TASK)
    shade = np.full((1, 500, 1000, 3), 0.5, np.float32)
    jobs.show(job, shade)
    (tmp_path / "p.jpg").write_bytes(job.preview)
    shown = images.read(tmp_path / "p.jpg").image
    assert shown.shape == (1, 320, 640, 3)
    np.testing.assert_allclose(shown, 0.5, atol=0.01)


def test_keys_cannot_be_guessed():
    assert len({jobs.make_key() for _ in range(100)}) == 100
    assert len(jobs.make_key()) >= 21
