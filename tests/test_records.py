"""Records of results, in PNG files and on their own."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import image, mini_recipe
from PIL import Image

import tfstyle
from tfstyle import images, records
from tfstyle.errors import InputError
from tfstyle.pictures import encoding
from tfstyle.recipes.catalog import RECIPES
from tfstyle.recipes.recipe import recipe_from_record


def described(recipe, **inputs):
    return records.describe_run(recipe, inputs=inputs, options={"quality": 95})


def test_a_record_names_files_and_their_hashes_but_no_folder(pair, tmp_path):
    recipe = mini_recipe(weights=str(tmp_path / "my.h5"), init=pair[1])
    made = described(recipe, content=pair[0], style=pair[1], init=pair[1])
    assert made["inputs"]["content"] == {
        "name": "photo.jpg",
        "sha256": hashlib.sha256(Path(pair[0]).read_bytes()).hexdigest(),
    }
    assert made["recipe"]["start"]["init"] == "painting.png"
    (tmp_path / "my.h5").write_bytes(b"weights")
    made = described(recipe, content=pair[0], style=pair[1], init=pair[1], weights=tmp_path / "my.h5")
    assert str(tmp_path) not in records.encode(made)
    assert made["tfstyle"] == tfstyle.__version__


def test_the_fingerprint_of_pixels_depends_on_values_size_and_type(rng):
    one = image(rng)
    others = [one + 1e-6, one.reshape(1, 47, 33, 3), one.astype("float64")]
    assert records.fingerprint(one) == records.fingerprint(one.copy())
    assert len({records.fingerprint(each) for each in (one, *others)}) == 4


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_comes_back_from_its_record(recipe):
    assert recipe_from_record(json.loads(json.dumps(recipe.record()))) == recipe


def test_a_png_holds_its_record_and_a_viewer_still_reads_it(rng, tmp_path):
    made = described(mini_recipe(), content=image(rng)) | {"step": 3, "pixels": "0"}
    for name in ("out.png", "out.jpg"):
        images.write_result(image(rng), tmp_path / name, text={records.KEYWORD: records.encode(made)})
    assert records.read(tmp_path / "out.png") == made
    with Image.open(tmp_path / "out.png") as file:
        assert json.loads(file.text["tfstyle"])["step"] == 3
    (tmp_path / "record.json").write_text(records.encode(made))
    assert records.read(tmp_path / "record.json") == made
    with pytest.raises(InputError, match=r"out\.jpg: holds no record of how it was made"):
        records.read(tmp_path / "out.jpg")


@pytest.mark.parametrize(
    "content", ["", "nothing", "[1]", "{}", '{"recipe": 1}', "[" * 100_000, "\x00\xff", json.dumps({"recipe": {}})]
)
def test_what_is_no_record_is_refused_in_one_line(content, tmp_path):
    (tmp_path / "record.json").write_text(content, encoding="utf-8")
    pixels = np.zeros((4, 5, 3), "uint8")
    text = {records.KEYWORD: content.encode("ascii", "replace").decode()}
    (tmp_path / "out.png").write_bytes(encoding.encode(pixels, "PNG", text=text))
    for name in ("record.json", "out.png"):
        with pytest.raises(InputError, match="holds no record of how it was made") as caught:
            records.read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_file_too_large_for_a_record_is_not_read(tmp_path, little_memory):
    with (tmp_path / "record.json").open("wb") as stream:
        stream.truncate(1 << 31)
    with little_memory(), pytest.raises(InputError, match="is larger than any record"):
        records.read(tmp_path / "record.json")
