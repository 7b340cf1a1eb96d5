"""`tfstyle train` and the use of its networks, as on the command line, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import SAMPLES, assert_one_line, command, image, small_generator, small_transformer

from tfstyle import cli, images
from tfstyle.cli.command_line import parse
from tfstyle.cli.parser import make_parser
from tfstyle.feedforward import serialization
from tfstyle.training import run_folder
from tfstyle.training.options import FastOptions

TINY = ["--steps", "2", "--size", "32", "--batch", "1", "--style-size", "64", "--precision", "float32"]


@pytest.fixture
def photos(rng, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        images.write(image(rng, 40, 60), folder / f"{number}.png")
    (folder / "notes.txt").write_text("no picture")
    images.write(image(rng, 50, 70), tmp_path / "painting.png")
    return folder


def test_a_trained_network_paints_and_is_exported(photos, tmp_path, capsys):
    painting, out = tmp_path / "painting.png", tmp_path / "out"
    words = ["train", "fast", str(painting), "--photos", str(photos), *TINY]
    words += ["--learning-rate", "0.002"]
    assert cli.main([*words, "-o", str(out)]) == 0
    found = capsys.readouterr()
    assert found.out == f"{out / run_folder.NETWORK}\n"
    assert "notes.txt" in found.err
    assert found.err.splitlines()[-1].startswith("step 2 of 2: loss ")
    files = {run_folder.NETWORK, run_folder.STATE, run_folder.LOSSES, run_folder.CURVES, run_folder.SHEETS}
    assert {path.name for path in out.iterdir()} == files
    assert_one_line(capsys, cli.main([*words, "-q", "-o", str(out)]), 4, "continue it with --resume")
    assert cli.main([*words, "-q", "-o", str(out), "--steps", "3", "--resume"]) == 0
    assert run_folder.read_losses(out)[-1]["step"] == 3
    capsys.readouterr()
    assert_one_line(capsys, cli.main([*words, "-q", "-o", str(out), "--seed", "5", "--resume"]), 2, "seed 0, not 5")
    again = [*words, "-q", "-o", str(out), "--resume"]
    assert_one_line(capsys, cli.main([*again, "--steps", "2"]), 2, "is at step 3; --steps should be at least that")
    (out / run_folder.LOSSES).rename(tmp_path / "kept")
    (out / run_folder.LOSSES).mkdir()
    assert_one_line(capsys, cli.main([*again, "--steps", "9"]), 4, "losses.csv: is a folder where the training writes")
    (out / run_folder.LOSSES).rmdir()
    (out / run_folder.NETWORK).unlink()
    assert cli.main([*again, "--steps", "3", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["start", "result"]
    assert events[-1]["output"] == str(out / run_folder.NETWORK)
    assert cli.main(["fast", str(photos / "0.png"), "--model", str(out / run_folder.NETWORK)]) == 0
    assert capsys.readouterr().out == f"{photos / '0.network.png'}\n"
    assert images.read(photos / "0.network.png").image.shape == (1, 40, 60, 3)
    assert cli.main(["export", str(out / run_folder.NETWORK), "-o", str(tmp_path / "net")]) == 0
    assert json.loads((tmp_path / "net" / "signature.json").read_text())["outputs"].keys() == {"painting"}


@pytest.mark.slow
def test_a_generator_is_trained_paints_and_is_exported(photos, tmp_path, capsys):
    """With a network of its own at every step; from a seed, and from a painting."""
    out, photo = tmp_path / "out", str(photos / "0.png")
    words = [
        "train",
        "gan",
        "-q",
        "--photos",
        str(photos),
        "--styles",
        str(photos),
        "-o",
        str(out),
        "--pretraining-steps",
        "1",
    ]
    numbers = ["--steps", "2", "--size", "32", "--batch", "2", "--image-pool", "2", "--precision", "float32"]
    assert cli.main([*words, *numbers, "--save-every", "1", "--json"]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    first, *steps, last = [json.loads(line) for line in found.out.splitlines()]
    assert (first["event"], first["command"], first["steps"]) == ("start", "train gan", 2)
    assert [(step["event"], step["step"], step["steps"]) for step in steps] == [("step", 1, 2), ("step", 2, 2)]
    assert {"loss", "content", "accuracy"} < set(steps[0]["losses"])
    assert last == {"event": "result", "output": str(out / run_folder.NETWORK)}
    assert_one_line(
        capsys, cli.main([*words, *numbers, "--gan-loss", "bce", "--resume"]), 2, "gan_loss 'r1', not 'bce'"
    )
    model = ["--model", str(out / run_folder.NETWORK)]
    pictures = []
    for name, manner in (("a", ["--seed", "1"]), ("b", ["--seed", "2"]), ("c", [str(tmp_path / "painting.png")])):
        assert cli.main(["fast", photo, *manner, *model, "-o", str(tmp_path / f"{name}.png")]) == 0
        pictures.append(images.read(tmp_path / f"{name}.png").image)
    assert pictures[0].shape == (1, 40, 60, 3)
    assert min(np.abs(pictures[0] - other).mean() for other in pictures[1:]) > 1e-3
    capsys.readouterr()
    assert cli.main(["export", str(out / run_folder.NETWORK), "-o", str(tmp_path / "net")]) == 0
    assert set(json.loads((tmp_path / "net" / "signature.json").read_text())["input"]) == {"image", "code"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--photos", "PHOTOS", "--styles", "EMPTY", "--size", "32"], 3, "holds no picture of at least 32 pixels"),
        (["--photos", "PHOTOS", "--styles", "PHOTOS", "--size", "48"], 3, "holds no picture of at least 48 pixels"),
        (["--photos", "PHOTOS", "--styles", "none", "--size", "32"], 3, "is not a folder that can be read"),
        (
            ["--photos", "PHOTOS", "--styles", "PHOTOS", "--size", "32", "--ema-decay", "1"],
            2,
            "ema-decay should be below 1",
        ),
        (
            ["--photos", "PHOTOS", "--styles", "PHOTOS", "--size", "32", "--image-pool", "-1"],
            2,
            "image-pool should be at least 0",
        ),
    ],
)
def test_train_gan_refuses_in_one_line_and_writes_nothing(words, code, message, photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = {"PHOTOS": str(photos), "EMPTY": str(tmp_path / "empty")}
    before = sorted(tmp_path.rglob("*"))
    arguments = ["train", "gan", "-q", *(places.get(word, word) for word in words), "-o", str(tmp_path / "out")]
    assert_one_line(capsys, cli.main(arguments), code, message)
    assert sorted(tmp_path.rglob("*")) == before


TWO_DEVICES = """
import sys
import tensorflow as tf
from tfstyle import cli

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fast", "adain"])
def test_mirrored_trains_on_all_devices(kind, photos, tmp_path):
    style = [tmp_path / "painting.png", "--style-size", "64"] if kind == "fast" else ["--styles", photos]
    numbers = ["--steps", "2", "--size", "32", "--precision", "float32", "--mirrored"]
    words = ["train", kind, *style, "--photos", photos, "-o", tmp_path / "out", *numbers, "-q", "--batch"]
    command = [sys.executable, "-c", TWO_DEVICES, *map(str, words)]
    odd, even = (subprocess.run([*command, batch], capture_output=True, text=True, check=False) for batch in "34")
    assert odd.returncode == 2
    assert "batch should be a multiple of the 2 devices" in odd.stderr.splitlines()[-1]  # Others are TensorFlow's.
    assert even.returncode == 0, even.stderr
    assert run_folder.read_losses(tmp_path / "out")[-1]["step"] == 2
    assert serialization.load(tmp_path / "out" / run_folder.NETWORK).built


def test_ctrl_c_writes_the_state_and_says_how_to_go_on(photos, tmp_path):
    words = ["train", "fast", tmp_path / "painting.png", "--photos", photos, "-o", tmp_path / "out", *TINY]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfstyle", *map(str, words), "--steps", "100000", "--save-every", "1", "-q"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.time() + 240
    while not (tmp_path / "out" / run_folder.STATE).exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err.count("\n")) == (130, 1)
    assert err.startswith("interrupted; ")
    assert "run the same training with --resume to continue it" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["PAINTING", "--photos", "none"], 3, "is not a folder that can be read"),
        (["PAINTING", "--photos", "PHOTOS", "--size", "32", "--samples", "EMPTY"], 3, "no picture that can be read"),
        (
            ["PAINTING", "--photos", "PHOTOS", "--size", "48"],
            3,
            "at least 48 pixels on each side; choose a smaller --size",
        ),
        (["PAINTING", "--photos", "EMPTY"], 3, "holds no picture of at least 256 pixels"),
        (["PAINTING", "--photos", "PHOTOS"], 3, "holds no picture of at least 256 pixels"),
        (["PAINTING", "--photos", "PHOTOS", "--size", "40", "--batch", "0"], 2, "batch should be at least 1"),
        (["none.jpg", "--photos", "PHOTOS", "--size", "32"], 3, "no such file"),
        (["SMALL", "--photos", "PHOTOS", "--size", "32"], 3, "is 40x20, smaller than a crop of 32 pixels"),
        (["PAINTING", "--photos", "PHOTOS", "--size", "32", "--resume"], 4, "holds no training to resume"),
        (["PAINTING", "--photos", "PHOTOS", "--size", "32", "-o", "PHOTOS"], 4, "is not empty and holds no training"),
        (["PAINTING", "--photos", "PHOTOS", "--size", "32", "-o", "none/out"], 4, "there is no folder"),
        (["PAINTING", "--photos", "PHOTOS", "--size", "32", "--samples", "THIN"], 3, "too narrow for a sample sheet"),
    ],
)
def test_train_refuses_in_one_line_and_writes_nothing(words, code, message, photos, rng, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    images.write(image(rng, 20, 40), tmp_path / "small.png")
    (tmp_path / "thin").mkdir()
    images.write(image(rng, 4, 400), tmp_path / "thin" / "rule.png")
    names = {"PAINTING": "painting.png", "PHOTOS": "photos", "EMPTY": "empty", "SMALL": "small.png", "THIN": "thin"}
    places = {word: str(tmp_path / name) for word, name in names.items()}
    before = sorted(tmp_path.rglob("*"))
    output = [] if "-o" in words else ["-o", str(tmp_path / "out")]
    arguments = ["train", "fast", "-q", *(places.get(word, word) for word in words), *output]
    assert_one_line(capsys, cli.main(arguments), code, message)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["PHOTO"], 2, "give a style image, or a network"),
        (["PHOTO", "--model", "starry-nigth"], 7, "did you mean 'starry-night'"),
        (["PHOTO", "--model", "none.keras"], 7, "no such network file"),
        (["PHOTO", "--model", "BAD"], 7, "is damaged or no network of tfstyle"),
        (["PHOTO", "PHOTO", "--model", "GOOD"], 2, "takes no style image"),
        (["PHOTO", "--model", "GOOD", "--tile", "8"], 2, "tile should be at least 64"),
        (["PHOTO", "--model", "GOOD", "--seed", "1"], 2, "--seed is for a generator without style images"),
        (
            ["PHOTO", "PHOTO", "--model", "MANY", "--seed", "1"],
            2,
            "--seed is for a generator without style images",
        ),
    ],
)
def test_fast_refuses_models_in_one_line_and_writes_nothing(words, code, message, photos, tmp_path, capsys):
    serialization.save(small_transformer(), tmp_path / "good.keras")
    serialization.save(small_generator(), tmp_path / "many.keras")
    (tmp_path / "bad.keras").write_text("no network")
    places = {"PHOTO": photos / "0.png"}
    places |= {name.upper(): tmp_path / f"{name}.keras" for name in ("good", "many", "bad")}
    before = sorted(tmp_path.rglob("*"))
    assert_one_line(capsys, cli.main(["fast", *(str(places.get(word, word)) for word in words)]), code, message)
    assert sorted(tmp_path.rglob("*")) == before


def test_export_refuses_what_it_does_not_know(tmp_path, capsys):
    assert_one_line(capsys, cli.main(["export", "extracter", "-o", str(tmp_path / "x")]), 7, "unknown network")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [["a.jpg", "b.jpg", "-o", "c"], ["a.jpg", "-o", "c", "b.jpg"], ["-o", "c", "a.jpg", "b.jpg"]]
)
def test_a_painting_may_stand_anywhere(words):
    options = parse(["fast", *words])
    assert (options.content, options.styles, options.output) == ("a.jpg", ["b.jpg"], "c")


def test_what_is_left_over_is_a_usage_error(capsys):
    with pytest.raises(SystemExit):
        parse(["fast", "a.jpg", "b.jpg", "--colour"])
    assert "unrecognized arguments: --colour" in capsys.readouterr().err


HELP = {
    "fast": (
        f"number of training steps [{FastOptions().steps}]",
        "side of the crops, in pixels [256]",
        "batch size [2]",
    ),
    "adain": (
        f"number of training steps [{FastOptions().steps}]",
        "side of the crops, in pixels [256]",
        "batch size [2]",
    ),
    "gan": (
        "number of training steps [6000]",
        "side of the crops, in pixels [128]",
        "generative adversarial network (GAN)",
        "adversarial loss of generator and discriminator [r1]",
        "weight of the gradient penalty [1]",
        "size of the replay buffer of generated images [50]",
        "decay of the exponential moving average (EMA) of the generator's weights, below 1 [0.999]",
    ),
}


@pytest.mark.parametrize("kind", HELP)
def test_the_help_tells_every_default(kind, capsys):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["train", kind, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in HELP[kind]:
        assert words in text


def test_a_former_name_of_output_is_gone(capsys):
    with pytest.raises(SystemExit):
        parse(["train", "fast", "a.jpg", "--photos", "b", "--out", "c"])
    assert "-o" in capsys.readouterr().err


def test_train_help_loads_nothing_heavy():
    code = "import sys; from tfstyle.cli.parser import make_parser; make_parser(); print('tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_the_shipped_network_paints_a_sample_in_its_manner(tmp_path):
    """End to end; nearer to The Starry Night than the photograph is, and still the photograph."""
    from tfstyle import metrics, vgg

    output = tmp_path / "cat.png"
    result = command("fast", SAMPLES / "chelsea.jpg", "--model", "starry-night", "-o", output)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{output}\n", "")
    content, style = (images.fit(images.read(SAMPLES / f"{n}.jpg").image, 256) for n in ("chelsea", "starry_night"))
    painted = images.fit(images.read(output).image, 256)
    network = vgg.load_vgg(metrics.LAYERS)
    before, after = (metrics.compare(network, content, style, picture) for picture in (content, painted))
    assert after.sliced_wasserstein < 0.7 * before.sliced_wasserstein
    assert np.isfinite(after.content)
    assert after.content < metrics.compare(network, content, style, images.resize(style, *content.shape[1:3])).content
