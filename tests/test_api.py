"""`stylize` from paths, pictures, arrays and tensors, on the miniature."""

import gc
import logging
import re
import weakref
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe, miniature, small_transformer
from PIL import Image

import tfstyle
from tfstyle import api, environment, files, images, one_pass, planning, records, train_step, transfer
from tfstyle.errors import (
    DivergedError,
    InputError,
    Interrupted,
    MemoryLimitError,
    OutputError,
    UsageError,
    WeightsError,
)
from tfstyle.memory import memory_needed
from tfstyle.recipes import LBFGS, StyleSize, parts


@pytest.fixture(autouse=True)
def mini_network(monkeypatch):
    monkeypatch.setattr(train_step, "build_model", lambda network, loss: miniature())
    api._cached_transfer.cache_clear()
    yield
    api._cached_transfer.cache_clear()


@pytest.fixture
def pair(rng, tmp_path):
    """Paths of a photograph 60x40 and a painting 33x47."""
    paths = tmp_path / "photo.png", tmp_path / "painting.png"
    for path, size in zip(paths, ((40, 60), (33, 47)), strict=True):
        images.write(image(rng, *size), path)
    return paths


RECIPE = mini_recipe(scale_steps=(3,), size=48)


def test_paths_pictures_arrays_and_tensors_give_the_same_image(pair):
    expected = tfstyle.stylize(*pair, recipe=RECIPE)
    assert expected.shape == (1, 32, 48, 3)
    arrays = [np.array(Image.open(path)) for path in pair]
    for kind in (Image.fromarray, np.asarray, tf.constant):
        np.testing.assert_array_equal(tfstyle.stylize(*map(kind, arrays), recipe=RECIPE), expected)


def test_the_network_is_kept_for_the_next_picture(pair):
    api.stylize(*pair, recipe=RECIPE)
    kept = api._transfer(RECIPE)
    api.stylize(*pair, recipe=RECIPE, steps=2, style_weight=5.0)
    assert api._transfer(RECIPE) is kept
    assert api._cached_transfer.cache_info().misses == 1


@pytest.mark.parametrize(("options", "long_side"), [({}, 60), ({"size": 30}, 30), ({"size": 80}, 80)])
def test_only_a_given_size_enlarges(options, long_side, pair):
    recipe = mini_recipe(scale_steps=(1,), size=512)
    assert max(tfstyle.stylize(*pair, recipe=recipe, **options).shape[1:3]) == long_side


@pytest.mark.parametrize(
    ("fit", "scale", "painting", "expected"),
    [
        ("long_side", 1.0, (33, 47), (48 * 33 / 47, 48)),
        ("long_side", 2.0, (33, 47), (96 * 33 / 47, 96)),
        ("long_side", 1.0, (47, 33), (48, 48 * 33 / 47)),
        ("width", 1.0, (47, 33), (48 * 47 / 33, 48)),
        ("content", 1.0, (47, 33), (32, 48)),
        ("content", 0.5, (47, 33), (16, 24)),
    ],
)
def test_the_painting_is_brought_to_the_size_the_recipe_says(fit, scale, painting, expected, pair, rng, monkeypatch):
    seen = []
    steps = transfer.Transfer.steps

    def record(self, content, styles, **options):
        seen.append((tuple(content.shape[1:3]), *(tuple(style.picture.shape[1:3]) for style in styles)))
        return steps(self, content, styles, **options)

    monkeypatch.setattr(transfer.Transfer, "steps", record)
    recipe = mini_recipe(scale_steps=(1,), size=48, style_resize=fit, style_scale=scale)
    tfstyle.stylize(pair[0], image(rng, *painting)[0], recipe=recipe)
    assert seen == [((32, 48), tuple(round(side) for side in expected))]


@pytest.mark.parametrize(("enlarge", "used"), [(True, (40, 48)), (False, (20, 24))])
def test_a_small_painting_is_used_at_its_own_size_if_the_recipe_says_so(enlarge, used, pair, rng, monkeypatch):
    seen = []
    steps = transfer.Transfer.steps

    def record(self, content, styles, *, style_sides, **options):
        seen.append((tuple(styles[0].picture.shape[1:3]), style_sides))
        return steps(self, content, styles, style_sides=style_sides, **options)

    monkeypatch.setattr(transfer.Transfer, "steps", record)
    monkeypatch.setattr(parts, "ENOUGH_PAINT", 16)
    recipe = mini_recipe(scale_steps=(1,), size=48, style_enlarge=enlarge)
    tfstyle.stylize(pair[0], image(rng, 20, 24)[0], recipe=recipe)
    assert seen == [(used, [48])]


def test_beside_a_strip_the_style_image_has_at_most_twice_its_pixels():
    (height, width), longest = StyleSize().sides((40, 50), (20, 4000))
    assert 0.95 * 160000 < longest * longest * height / width < 1.05 * 160000


def test_the_result_is_written_when_asked(pair, tmp_path):
    image = tfstyle.stylize(*pair, recipe=RECIPE, output=tmp_path / "out.png")
    np.testing.assert_allclose(images.read(tmp_path / "out.png").image, image, atol=0.51 / 255)


def test_alpha_is_carried_when_asked(rng, tmp_path, pair):
    rgba = np.concatenate([image(rng, 40, 60)[0], np.zeros((40, 60, 1))], axis=-1).astype("float32")
    rgba[:, 30:, 3] = 1.0
    tfstyle.stylize(rgba, pair[1], recipe=RECIPE, output=tmp_path / "a.png", keep_alpha=True)
    tfstyle.stylize(rgba, pair[1], recipe=RECIPE, output=tmp_path / "b.png")
    alpha = images.read(tmp_path / "a.png").alpha
    assert (alpha[0, :, 0].max(), alpha[0, :, -1].min()) == (0.0, 1.0)
    assert images.read(tmp_path / "b.png").alpha is None


def test_a_start_picture_is_used(rng, pair, tmp_path):
    images.write(np.full((1, 20, 30, 3), 0.25, "float32"), tmp_path / "start.png")
    recipe = mini_recipe(scale_steps=(1,), learning_rate=1e-6)
    started = tfstyle.stylize(*pair, recipe=recipe, init=str(tmp_path / "start.png"))
    np.testing.assert_allclose(started, 0.25, atol=0.01)


def test_callbacks_see_every_step(pair):
    seen = []
    tfstyle.stylize(*pair, recipe=RECIPE, callbacks=[lambda step: seen.append(step.index)])
    assert seen == [1, 2, 3]


def test_what_was_converted_is_logged(pair, caplog, tmp_path):
    Image.new("CMYK", (60, 40)).save(tmp_path / "c.tiff")
    with caplog.at_level(logging.INFO, logger="tfstyle"):
        tfstyle.stylize(tmp_path / "c.tiff", pair[1], recipe=RECIPE)
    assert "c.tiff: CMYK converted to RGB." in caplog.text


def test_a_rescaled_recipe_confesses_once(pair, caplog):
    api._warn_once.cache_clear()
    for _ in range(2):
        tfstyle.stylize(*pair, recipe=mini_recipe(trained_on="caffe"))
    assert caplog.text.count("was published for raw VGG-19") == 1


def test_an_interrupted_run_writes_the_image_so_far(pair, tmp_path):
    recipe = mini_recipe(scale_start=30, scale_steps=(3, 3), size=60)

    def interrupt(step):
        if step.index == 2:  # At the coarse scale.
            raise KeyboardInterrupt

    output = tmp_path / "out.png"
    with pytest.raises(Interrupted, match=r"out\.png: the image so far"):
        tfstyle.stylize(*pair, recipe=recipe, output=output, callbacks=[lambda step: None, interrupt])
    assert images.read(output).image.shape == (1, 40, 60, 3)


def test_a_callback_that_fails_loses_nothing(pair, tmp_path):
    def fail(step):
        if step.index == 3:
            raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        tfstyle.stylize(*pair, recipe=RECIPE, output=tmp_path / "out.png", callbacks=[fail])
    expected = tfstyle.stylize(*pair, recipe=RECIPE)  # The step at which it failed included.
    np.testing.assert_allclose(images.read(tmp_path / "out.png").image, expected, atol=0.51 / 255)


def test_a_run_that_diverges_writes_its_best_image(pair, tmp_path, monkeypatch):
    def diverge(step):
        if step.index == 2:
            error = DivergedError("the loss was no longer finite at step 3.")
            error.image = step.image * 0.0 + 0.25
            raise error

    with pytest.raises(DivergedError, match=r"finite at step 3\. .*out.png: its best image\."):
        tfstyle.stylize(*pair, recipe=RECIPE, output=tmp_path / "out.png", callbacks=[diverge])
    assert float(images.read(tmp_path / "out.png").image.mean()) == pytest.approx(0.25, abs=0.01)


def test_a_callback_that_returns_true_ends_the_run(pair):
    recipe, seen = mini_recipe(scale_start=30, scale_steps=(3, 3), size=60), []
    found = tfstyle.stylize(
        *pair, recipe=recipe, callbacks=[lambda step: step.index == 2, lambda step: seen.append(step.index)]
    )
    assert seen == [1, 2]
    assert found.shape == (1, 40, 60, 3)


def test_callbacks_are_closed_by_an_interrupt_between_steps(pair, monkeypatch):
    closed = []

    class Closing:
        def __call__(self, step):
            return None

        def close(self):
            closed.append(True)

    def interrupted(steps, callbacks):
        for step in observe(steps, callbacks):
            yield step
            raise KeyboardInterrupt

    observe = api.observe
    monkeypatch.setattr(api, "observe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tfstyle.stylize(*pair, recipe=RECIPE, callbacks=[Closing()])
    assert closed == [True]


def test_stylize_inside_a_callback_disturbs_neither_run(pair, rng):
    inner, other = [], image(rng, 40, 60)[0]
    alone, expected = tfstyle.stylize(*pair, recipe=RECIPE), tfstyle.stylize(other, pair[1], recipe=RECIPE)
    found = tfstyle.stylize(
        *pair,
        recipe=RECIPE,
        callbacks=[lambda step: inner.append(tfstyle.stylize(other, pair[1], recipe=RECIPE))],
    )
    np.testing.assert_array_equal(found, alone)
    for thumbnail in inner:
        np.testing.assert_array_equal(thumbnail, expected)


def test_pictures_made_in_threads_are_the_pictures_made_alone(pair, rng, monkeypatch):
    recipes, built = [RECIPE, mini_recipe(optimizer=LBFGS(), scale_steps=(3,), size=48)], []
    monkeypatch.setattr(train_step, "build_model", lambda network, loss: built.append(loss) or miniature())
    jobs = [(image(rng, 40, 60)[0], recipe) for recipe in recipes for _ in range(3)]

    def paint(job):
        return tfstyle.stylize(job[0], pair[1], recipe=job[1])

    with futures.ThreadPoolExecutor(6) as pool:
        found = list(pool.map(paint, jobs))
    assert len(built) == 2  # Each network once, whichever thread came first.
    for job, picture in zip(jobs, found, strict=True):
        np.testing.assert_array_equal(picture, paint(job))


def test_what_is_kept_between_calls_can_be_released(pair):
    tfstyle.stylize(*pair, recipe=RECIPE)
    kept = weakref.ref(api._transfer(RECIPE))
    assert kept() is not None
    tfstyle.clear_cache()
    assert kept() is None


def test_at_most_eight_networks_are_kept(pair):
    kept = []
    for weight in range(9):
        kept.append(weakref.ref(api._transfer(mini_recipe(style_layers={"block1_conv1": 0.1, "block2_conv1": weight}))))
    gc.collect()
    assert [thing() is not None for thing in kept] == [False] + [True] * 8


def test_what_is_kept_is_released_before_a_run_is_refused(pair, monkeypatch):
    tfstyle.stylize(*pair, recipe=RECIPE)
    monkeypatch.setattr(environment, "_reusable", 0)
    kept = weakref.ref(api._transfer(RECIPE))
    needed = memory_needed(RECIPE, (32, 48), (34, 48))
    monkeypatch.setattr(environment, "available_memory", lambda: needed - (kept() is not None))
    tfstyle.stylize(*pair, recipe=RECIPE)
    assert kept() is None


def test_one_painting_needs_no_list(pair, rng):
    painting = images.read(pair[1])
    expected = tfstyle.stylize_fast(pair[0], [pair[1]], size=48)
    for one in (pair[1], str(pair[1]), Image.open(pair[1]), painting.image, tf.constant(painting.image)):
        np.testing.assert_allclose(tfstyle.stylize_fast(pair[0], one, size=48), expected, atol=1e-5)


def test_a_network_that_paints_no_numbers_is_refused(pair):
    network = small_transformer()
    network.convolutions[-1].bias.assign([float("nan")] * 3)
    with pytest.raises(WeightsError, match="the picture is not finite"):
        tfstyle.stylize_fast(pair[0], model=network)


def test_a_model_that_is_no_network_is_refused(pair):
    with pytest.raises(tfstyle.UsageError, match=r"`model` should be a network, its name or its \.keras file, not 5"):
        tfstyle.stylize_fast(pair[0], model=5)


def test_a_result_whose_name_was_taken_meanwhile_is_saved_beside_it(pair, tmp_path):
    output = tmp_path / "out.png"
    seen = []

    def take(step):
        output.write_bytes(b"precious")
        seen.append(step.image)

    with pytest.raises(OutputError, match=r"out\.png: has appeared meanwhile .*; saved as .*out-2\.png\.$"):
        tfstyle.stylize(*pair, recipe=RECIPE, output=output, callbacks=[take])
    assert output.read_bytes() == b"precious"
    np.testing.assert_allclose(images.read(tmp_path / "out-2.png").image, seen[-1], atol=0.51 / 255)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError("no place"), RuntimeError("no disk")])
def test_the_image_so_far_is_saved_elsewhere_when_its_folder_is_gone(error, pair, tmp_path, monkeypatch, caplog):
    for name in ("here", "out"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def stop(step):
        if step.index == 2:
            (tmp_path / "out").rmdir()
            raise error

    where = r"out/p\.png: cannot be written .*; saved as .*here/p\.png\."
    raised, message = (Interrupted, where) if error is KeyboardInterrupt else (type(error), str(error))
    with pytest.raises(raised, match=message):
        tfstyle.stylize(*pair, recipe=RECIPE, output=tmp_path / "out" / "p.png", callbacks=[stop])
    assert raised is Interrupted or re.search(where, caplog.text)
    assert images.read(tmp_path / "here" / "p.png").image.shape == (1, 32, 48, 3)


def test_a_free_name_is_chosen_when_the_result_is_written(pair, tmp_path):
    output = files.FreeName(tmp_path / "out.png")
    (tmp_path / "out.png").touch()  # The check before the work finds the next name, too.
    take = lambda step: (tmp_path / "out-2.png").touch()  # noqa: E731
    tfstyle.stylize(*pair, recipe=RECIPE, output=output, callbacks=[take])
    assert images.read(output).image.shape == (1, 32, 48, 3)
    assert Path(output) == tmp_path / "out-3.png"


def test_an_interrupt_before_the_first_step_writes_nothing(pair, tmp_path):
    def interrupt(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tfstyle.stylize(*pair, recipe=RECIPE, callbacks=[interrupt])
    assert sorted(tmp_path.iterdir()) == sorted(pair)


def test_an_output_that_exists_is_refused_before_the_work(pair, tmp_path):
    (tmp_path / "out.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        tfstyle.stylize("missing.jpg", pair[1], output=tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == b"precious"


def test_a_run_that_would_not_fit_is_refused_with_a_size_that_would(pair, monkeypatch):
    needed = memory_needed(RECIPE, (32, 48), (34, 48))
    monkeypatch.setattr(environment, "available_memory", lambda: needed - 1)
    with pytest.raises(MemoryLimitError, match=r"48x32 needs about .* choose a `size` of 4\d or less"):
        tfstyle.stylize(*pair, recipe=RECIPE)


def test_a_missing_picture_is_refused(pair):
    with pytest.raises(InputError, match="no such file"):
        tfstyle.stylize("missing.jpg", pair[1])


def test_an_unknown_field_is_answered_with_the_nearest(pair):
    with pytest.raises(ValueError, match="did you mean 'style_weight'"):
        tfstyle.stylize(*pair, stile_weight=3)


def test_memory_that_a_run_has_left_serves_the_next_one(pair, monkeypatch):
    tfstyle.stylize(*pair, recipe=RECIPE)
    monkeypatch.setattr(environment, "available_memory", lambda: 1000)  # TensorFlow has kept the rest.
    tfstyle.stylize(*pair, recipe=RECIPE)
    with pytest.raises(MemoryLimitError):
        tfstyle.stylize(*pair, recipe=RECIPE, size=200)


def test_an_interrupt_while_the_result_is_written_loses_nothing(pair, tmp_path, monkeypatch):
    write, calls = images.write_result, []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return write(*args, **options)

    monkeypatch.setattr(images, "write_result", interrupted)
    with pytest.raises(Interrupted, match=r"out\.png: the result"):
        tfstyle.stylize(*pair, recipe=RECIPE, output=tmp_path / "out.png")
    assert images.read(tmp_path / "out.png").image.shape == (1, 32, 48, 3)


def test_what_read_returns_is_taken_by_stylize_and_fast(pair):
    pictures = [tfstyle.read(path) for path in pair]
    expected = tfstyle.stylize(*pair, recipe=RECIPE)
    np.testing.assert_array_equal(tfstyle.stylize(*pictures, recipe=RECIPE), expected)
    np.testing.assert_array_equal(tfstyle.stylize_fast(*pictures, size=48), tfstyle.stylize_fast(*pair, size=48))


def test_a_network_by_name_is_loaded_once(pair, monkeypatch):
    one_pass.clear_cache()
    loaded, load = [], one_pass.serialization.load
    monkeypatch.setattr(one_pass.serialization, "load", lambda source: loaded.append(source) or load(source))
    for _ in range(2):
        tfstyle.stylize_fast(pair[0], model="starry-night", size=48)
    assert loaded == ["starry-night"]
    one_pass.clear_cache()


def test_callbacks_that_are_one_function_are_refused(pair):
    with pytest.raises(tfstyle.UsageError, match="`callbacks` should be a list"):
        tfstyle.stylize(*pair, recipe=RECIPE, callbacks=print)


@pytest.mark.parametrize(("share", "regions", "weight"), [(0.59, "3", 1.6), (0.61, "none", 1.0)])
def test_regions_are_decided_by_the_share_of_the_painting_that_is_matched(share, regions, weight, monkeypatch, rng):
    monkeypatch.setattr(api.metrics, "matched_share", lambda network, content, style: share)
    content, style = (tf.constant(image(rng, *size)) for size in ((40, 60), (33, 47)))
    recipe = tfstyle.get_recipe("wasserstein", regions="auto", content_weight=2.0)
    decided = api._decide_regions(recipe, content, style)
    assert (decided.loss.regions, decided.term_weights.content_weight) == (regions, 2.0 * weight)
    assert decided.loss.recurrence == (1.0 if regions == "3" else 0.0)
    for fixed in ("none", "2"):
        typed = tfstyle.get_recipe("wasserstein", regions=fixed)
        assert api._decide_regions(typed, content, style) is typed


def test_what_does_not_fit_is_computed_in_tiles(pair, monkeypatch, caplog, tmp_path):
    def needed(recipe, *sizes, tile=None, bands=1):
        return 3000 if tile is None else 1000

    for module in (api, planning):
        monkeypatch.setattr(module, "memory_needed", needed)
    expected = tfstyle.stylize(*pair, recipe=RECIPE)
    assert "tiles" not in caplog.text
    out = tmp_path / "out.png"
    found = tfstyle.stylize(*pair, recipe=RECIPE, memory="2 kB", output=out)
    assert "48x32: levels of 48 in tiles of 512 pixels; about 0.0 GB of memory and " in caplog.text
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert records.read(out)["options"]["memory"] == 2000
    assert tfstyle.rerun(out).same
    monkeypatch.setattr(environment, "free_memory", lambda: 2000)  # By itself, it takes what is free.
    np.testing.assert_array_equal(tfstyle.stylize(*pair, recipe=RECIPE), found)
    with pytest.raises(MemoryLimitError, match=r"48x32 needs .*; no `size` fits"):
        tfstyle.stylize(*pair, recipe=RECIPE, memory=999)


@pytest.mark.parametrize("amount", ["", "much", "-3GB", 0, True, "4 apples", "4GBB"])
def test_memory_is_an_amount(amount, pair):
    with pytest.raises(UsageError, match="`memory` should be an amount of memory such as 4GB, not"):
        tfstyle.stylize(*pair, recipe=RECIPE, memory=amount)


@pytest.mark.parametrize("styles", [1, 0])
@pytest.mark.parametrize("mode", ["content", "match", "histogram"])
def test_the_photographs_colors_with_and_without_a_painting(mode, styles, rng):
    photo = 0.3 + 0.1 * image(rng, 40, 56) * np.array([3.0, 1.0, 0.5], "float32")
    painting = [0.5 + 0.4 * image(rng, 48, 40) * np.array([0.2, 0.5, 1.0], "float32")][:styles]
    options = {"model": None if styles else "starry-night"}
    plain, found = (
        tfstyle.stylize_fast(photo, painting, color=choice, **options).numpy() for choice in ("style", mode)
    )
    target = photo.mean((0, 1, 2))
    distances = [np.abs(picture.mean((0, 1, 2)) - target).max() for picture in (found, plain)]
    assert distances[0] < 0.5 * distances[1]
