"""The exported extractor: its signature, its numbers, and what must not be in it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, embedded_decoder, image, miniature, small_generator, small_transformer

from tfstyle.errors import OutputError, SetupError
from tfstyle.serving import export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A miniature and its folder."""
    model = miniature(style_layers=("block1_conv1", "block3_conv1"), content_layers=("block2_conv2", "block3_conv1"))
    folder = tmp_path_factory.mktemp("build-folder") / "mini"
    assert export.export_extractor(model, folder) == folder
    return model, folder


def test_the_layout_is_that_of_tensorflow_serving(exported):
    _, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == ["1", "NOTICE", "signature.json"]
    assert (folder / "1" / "saved_model.pb").is_file()
    assert (folder / "NOTICE").read_text(encoding="utf-8") == (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_the_signature_file_tells_the_truth(exported):
    model, folder = exported
    told = json.loads((folder / "signature.json").read_text())
    run = tf.saved_model.load(folder / "1").signatures[told["signature"]]
    assert set(told["outputs"]) == set(run.structured_outputs)
    for name, facts in told["outputs"].items():
        shape = run.structured_outputs[name].shape
        assert [size if isinstance(size, int) else None for size in facts["shape"]] == list(shape)
    (name,) = run.structured_input_signature[1]
    assert (name, run.structured_input_signature[1][name].shape.as_list()) == ("image", [None, None, None, 3])
    assert told["smallest_side"] == model.vgg.smallest_side == 4


def test_the_graph_has_no_python_and_no_strings_and_nothing_of_this_machine(exported):
    _, folder = exported
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "1" / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    serving = [
        f for f in graph.library.function if "signature_wrapper" in f.signature.name or "inference" in f.signature.name
    ]
    nodes = [node for function in serving for node in function.node_def if "restore" not in function.signature.name]
    assert nodes
    assert not {node.op for node in nodes} & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
    signature = model.meta_graphs[0].signature_def["serving_default"]
    kinds = {tensor.dtype for side in (signature.inputs, signature.outputs) for tensor in side.values()}
    assert kinds == {1}  # DT_FLOAT.
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for word in (str(folder), str(folder.parent), str(ROOT), "build-folder"):
                assert word.encode() not in data, (path, word)


def test_every_variable_is_stored_once(exported):
    model, folder = exported
    stored = tf.train.list_variables(str(folder / "1" / "variables" / "variables"))
    arrays = [shape for name, shape in stored if name.endswith("VARIABLE_VALUE")]
    assert len(arrays) == len(model.variables)


def test_a_folder_that_exists_is_left_alone(exported, tmp_path):
    model, folder = exported
    with pytest.raises(OutputError, match="exists; choose another folder"):
        export.export_extractor(model, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    with pytest.raises(OutputError, match="is not an export of tfstyle"):
        export.export_extractor(model, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "precious").exists()


def test_an_export_is_replaced_when_asked_and_where_a_link_points_to(tmp_path):
    model = miniature()
    (tmp_path / "far").mkdir()
    export.export_extractor(model, tmp_path / "far" / "mini")
    (tmp_path / "far" / "mini" / "old").touch()
    (tmp_path / "link").symlink_to("far/mini")
    export.export_extractor(model, tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["mini"]
    assert sorted(path.name for path in (tmp_path / "far" / "mini").iterdir()) == ["1", "NOTICE", "signature.json"]


def test_a_link_that_points_to_nothing_is_left_alone(tmp_path):
    (tmp_path / "link").symlink_to("none")
    for overwrite, message in ((False, "exists; choose"), (True, "is not an export")):
        with pytest.raises(OutputError, match=message):
            export.export_extractor(miniature(), tmp_path / "link", overwrite=overwrite)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(
            None, None, "{{node x}} .tfstyle.0/x; No space left on device [Op:SaveV2]\nmore"
        ),
        OSError(28, "No space left on device"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_the_old_export_whole(error, tmp_path, monkeypatch):
    export.export_extractor(miniature(), tmp_path / "mini")
    before = (tmp_path / "mini" / "signature.json").read_bytes()

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OutputError, match=r"^.*mini: cannot be written \(No space left on device\); choose another.*$"):
        export.export_extractor(miniature(), tmp_path / "mini", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]
    assert (tmp_path / "mini" / "signature.json").read_bytes() == before


def test_a_format_that_is_unknown_or_not_installed_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="did you mean 'savedmodel'"):
        export.export_extractor(miniature(), tmp_path / "x", format="saved_model")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(SetupError, match=r"pip install 'tfstyle\[export\]'"):
        export.export_extractor(miniature(), tmp_path / "x", format="onnx")
    assert not list(tmp_path.iterdir())


def test_litert_computes_the_same_and_prints_nothing(tmp_path, rng, capsys):
    model = miniature()
    export.export_extractor(model, tmp_path / "mini", format="litert")
    assert capsys.readouterr().out == ""
    interpreter = tf.lite.Interpreter(str(tmp_path / "mini" / "1" / "model.tflite"))
    runner = interpreter.get_signature_runner("serving_default")
    picture = image(rng, 33, 48)
    found, expected = runner(image=picture), model(picture)
    for kind, layers in expected.items():
        for layer, value in layers.items():
            np.testing.assert_allclose(found[f"{kind}_{layer}"], value, rtol=1e-4, atol=1e-5)


def run_exported(folder, format, pictures):
    """What a program that knows nothing of tfstyle makes of an exported network."""
    if format == "litert":
        interpreter = tf.lite.Interpreter(str(folder / "1" / "model.tflite"))
        return interpreter.get_signature_runner("serving_default")(**pictures)["painting"]
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(folder / "1" / "model.onnx")).run(["painting"], pictures)[0]


@pytest.mark.parametrize("format", ["onnx", "litert"])  # SavedModel is in the list of test_conformance.
def test_an_exported_transformer_gives_the_same_at_any_size(format, tmp_path, rng):
    if format == "onnx":
        pytest.importorskip("tf2onnx")
    network = small_transformer(blocks=1)
    export.export_network(network, tmp_path / "net", format=format)
    for size in ((33, 47), (24, 18)):
        picture = image(rng, *size)
        found = run_exported(tmp_path / "net", format, {"image": picture})
        np.testing.assert_allclose(found, network(picture), atol=1e-4)
    told = json.loads((tmp_path / "net" / "signature.json").read_text())
    assert (told["input"].keys(), told["outputs"].keys()) == ({"image"}, {"painting"})
    assert (told["format"], told["smallest_side"]) == (format, 8)


@pytest.mark.parametrize("format", ["onnx", "litert"])  # SavedModel is in the list of test_conformance.
def test_an_exported_generator_takes_image_and_code(format, tmp_path, rng):
    if format == "onnx":
        pytest.importorskip("tf2onnx")
    network = small_generator(blocks=1)
    export.export_network(network, tmp_path / "net", format=format)
    for seed, size in enumerate(((33, 47), (24, 18))):
        given = {"image": image(rng, *size), "code": network.random_code(seed).numpy()}
        found = run_exported(tmp_path / "net", format, given)
        np.testing.assert_allclose(found, network(given["image"], given["code"]), atol=1e-4)
    told = json.loads((tmp_path / "net" / "signature.json").read_text())
    assert told["input"]["code"] == {"dtype": "float32", "distribution": "normal", "shape": ["N", 8]}
    assert told["input"]["image"]["shape"] == ["N", "H", "W", 3]


@pytest.mark.parametrize("format", ["onnx", "litert"])  # SavedModel is in the list of test_conformance.
def test_an_exported_decoder_takes_content_and_style(format, tmp_path, rng):
    if format == "onnx":
        pytest.importorskip("tf2onnx")
    network = embedded_decoder()
    export.export_network(network, tmp_path / "net", format=format)
    pictures = {"image": image(rng, 40, 57), "style": image(rng, 64, 33)}
    found = run_exported(tmp_path / "net", format, pictures)
    expected = network.stylize(pictures["image"], [pictures["style"]], precision="float32")
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_four_programs_that_know_nothing_of_tfstyle_agree_with_keras():
    """TensorFlow in a clean environment, C, OpenVINO and ONNX Runtime; installs them, so it takes minutes."""
    result = subprocess.run(["bash", ROOT / "scripts" / "check_export.sh"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok\n") == 12
