"""Programs that divide tiles among two devices, or among two workers that `TF_CONFIG` names; each line is a fact.

python several_devices.py devices
TF_CONFIG=… python several_devices.py workers FOLDER
"""

import functools
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

if sys.argv[1] == "devices":
    CPU = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)
    STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
else:
    from tfstyle.distribution import join_workers

    STRATEGY = join_workers()  # Before TensorFlow computes anything.

import trainers
from conftest import image, mini_recipe, miniature
from tiles import LOSSES, WEIGHTS, loss_of, network, pictures

import tfstyle
from tfstyle import images, train_step, transfer
from tfstyle.distribution import Devices
from tfstyle.environment import keras
from tfstyle.objective import make_objective
from tfstyle.recipes import catalog
from tfstyle.targets import make_targets
from tfstyle.tiling import Tiling
from tfstyle.training.run import Run

DEVICES = Devices(STRATEGY)
NAMES = ("gram", "wasserstein", "deep_neighbors", "neighbors", "crossed")


def tell(name, value):
    print(json.dumps({name: value}), flush=True)


def tell_errors(sizes, *, describe):
    """The largest relative differences of loss and gradient from those of one device, over losses and sizes.

    Other sizes than the first with neighbors alone.
    """
    errors = []
    for name in NAMES:
        loss = loss_of(**LOSSES[name])
        for size, tile in sizes if name == "neighbors" else sizes[:1]:
            rng = np.random.default_rng(len(errors))
            model = network(loss, statistic=loss.statistic, dtype="float64", ceil_mode=tile == 48)
            content, style, start = pictures(rng, size, (61, 90), size)
            tiling, of_tiles = Tiling(model, loss, devices=DEVICES), {}
            if describe:
                see, search = (functools.partial(each, tile=tile) for each in (tiling.describe, tiling.search))
                of_tiles = {"see": see, "search": search}
            targets = make_targets(model, loss, content, [style], image=start, **of_tiles)
            weights = {term: tf.constant(weight, tf.float64) for term, weight in WEIGHTS.items()}
            if not loss.neighbor_layers:
                del weights["neighbor"]
            whole = make_objective(model, loss, targets, weights=weights)(start)
            found = tiling.make_objective(targets, weights=weights, tile=tile)(start)
            errors.append(abs(float(found.loss / whole.loss) - 1.0))
            errors.append(float(tf.norm(found.gradient - whole.gradient) / tf.norm(whole.gradient)))
    tell("evaluations", len(errors) // 2)
    tell("error", max(errors))


def tell_run():
    """The difference of a run of two levels from that of one device."""
    train_step.build_model = lambda network, loss: miniature(
        tuple(loss.style_layers), tuple(loss.content_layers), other_layers=loss.layers(), statistic=loss.statistic
    )
    plan = transfer.plan_levels
    transfer.plan_levels = lambda *images, **options: [level._replace(tile=32) for level in plan(*images, **options)]
    recipe = mini_recipe(size=96, scale_start=48, scale_steps=(2, 3), warm_start=True)
    run, rng = transfer.Transfer(recipe), np.random.default_rng(3)
    photo, painting = (tf.constant(image(rng, *size)) for size in ((64, 96), (60, 90)))
    one, several = (list(run.steps(photo, painting, devices=devices))[-1] for devices in (Devices(), DEVICES))
    tell("run", float(tf.reduce_max(abs(several.image - one.image))))


def tell_training(folder):
    """Whether a training, interrupted and gone on with, ends where that of one device does."""
    own = folder / str(DEVICES.index)
    own.mkdir()
    run = functools.partial(Run, folder / "shared", [image(np.random.default_rng(1))], strategy=STRATEGY)
    options = trainers.FastOptions(steps=3, size=32, batch=2, save_every=2)
    with run().share(2).scope():
        for steps, resume in ((2, False), (3, True)):
            trainer = trainers.make_trainer(keras.optimizers.SGD(0.5), seed=5 + steps)
            if not resume:
                first = {name: value.numpy() for name, value in trainer.state()["network"].items()}
            run(resume=resume).fit(
                trainer,
                trainers.batches_from,
                trainers.FastOptions(steps=steps, size=32, batch=2, save_every=2),
                fixed={},
                stylize=trainer.network,
            )
    alone = trainers.make_trainer(keras.optimizers.SGD(0.5))
    for name, value in alone.state()["network"].items():
        value.assign(first[name])
    trainers.fit(alone, trainers.batches_from, own, steps=options.steps, every=2, fixed={})
    trainers.assert_same_state(trainer, alone, tolerance=1e-5)
    tell("trained", sorted(path.name for path in (folder / "shared").iterdir()))
    tell("losses", [(folder / "shared" / "losses.csv").read_text(), (own / "losses.csv").read_text()])


def tell_loss_of_a_worker(folder):
    """What is left when the other worker is killed in the middle of a run."""
    catalog.RECIPES = {"default": mini_recipe(scale_steps=(6,), size=96)}
    rng = np.random.default_rng(4)
    for name in ("photo", "painting"):
        images.write(image(rng, 64, 96), folder / f"{name}{DEVICES.index}.png")
    add, calls = DEVICES.sum, []

    def sum_up(tensors):
        calls.append(1)
        if len(calls) == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return add(tensors)

    tfstyle.api.find_devices = lambda strategy: DEVICES
    if DEVICES.index:
        DEVICES.sum = sum_up
    try:
        tfstyle.stylize(
            *(folder / f"{name}{DEVICES.index}.png" for name in ("photo", "painting")),
            strategy=STRATEGY,
            output=folder / "out.png",
            checkpoint=folder / "checkpoint",
            checkpoint_every=1,
        )
    except tfstyle.TfstyleError as error:
        tell("lost", [type(error).__name__, error.exit_code, str(error)])
        tell("left", sorted(path.name for path in folder.rglob("*.*")))


if sys.argv[1] == "devices":
    tell("count", DEVICES.count)
    tell_errors([((85, 119), 48)], describe=True)
    tell_run()
else:
    FOLDER = Path(sys.argv[2])
    tell("workers", [DEVICES.workers, DEVICES.index, DEVICES.count])
    tell("rows", [DEVICES.rows(height) for height in (100, 64)])
    tell("gathered", DEVICES.gather(7 + DEVICES.index))
    tell("agreed", DEVICES.agree({"a": tf.constant([DEVICES.index + 5])})["a"].numpy().tolist())
    for check in (lambda: DEVICES.check_same("color", DEVICES.index), lambda: DEVICES.rows(31)):
        try:
            check()
        except tfstyle.UsageError as refusal:
            tell("refused", str(refusal))
    tell_errors([((85, 119), 48), ((200, 40), 32), ((33, 150), 64)], describe=False)
    tell_run()
    tell_training(FOLDER)
    tell_loss_of_a_worker(FOLDER)
