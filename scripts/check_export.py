"""Runs an exported extractor in four other programs and compares the outputs with Keras; used by check_export.sh.

python scripts/check_export.py make FOLDER     with tfstyle: writes the exports and the outputs of Keras
python scripts/check_export.py check FOLDER    without tfstyle: loads the exports in other programs and compares
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SHAPES = [(64, 64), (97, 131), (256, 192)]
TOLERANCES = {"saved_model.load": 1e-6, "C API": 1e-6, "OpenVINO": 1e-4, "ONNX Runtime": 1e-4}


def make(folder):
    """Exports the extractor as SavedModel and ONNX, and saves images and the outputs of Keras."""
    import tfstyle
    from tfstyle.serving.export import export_extractor
    from tfstyle.vgg19 import STYLE_LAYERS

    model = tfstyle.StyleContentModel(STYLE_LAYERS, ["block4_conv2"])
    for format in ("savedmodel", "onnx"):
        export_extractor(model, folder / format, format=format, overwrite=True)
    numbers = np.random.default_rng(5)
    for height, width in SHAPES:
        image = numbers.uniform(size=(1, height, width, 3)).astype("float32")
        found = model(image)
        answers = {f"{kind}_{layer}": value.numpy() for kind in found for layer, value in found[kind].items()}
        np.savez(folder / f"golden-{height}x{width}.npz", image=image, **answers)


def by_tensorflow(folder):
    """Loads the SavedModel in TensorFlow, without tfstyle."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "savedmodel" / "1"))
    run = loaded.signatures["serving_default"]
    return lambda image, shapes: {name: value.numpy() for name, value in run(image=tf.constant(image)).items()}


def by_c_program(folder):
    """Builds a C program on TensorFlow's C API, linked against the libraries in TensorFlow's wheel."""
    import tensorflow as tf

    lib = Path(tf.__file__).parent
    program = folder / "check_export"
    source = Path(__file__).with_suffix(".c")
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", "-Wl,--allow-shlib-undefined"]
    command = [
        "gcc",
        "-O1",
        "-Wall",
        f"-I{lib}/include",
        str(source),
        "-o",
        str(program),
        f"-L{lib}",
        f"-Wl,-rpath,{lib}",
    ]
    subprocess.run(command + libraries, check=True)
    shown = tf.saved_model.load(str(folder / "savedmodel" / "1")).signatures["serving_default"]
    tensors = _signature_tensors(folder)

    def run(image, shapes):
        image.tofile(folder / "image.raw")
        pairs = [f"{name}={tensors[name]}" for name in shown.structured_outputs]
        words = [
            program,
            folder / "savedmodel" / "1",
            *map(str, image.shape[1:3]),
            "image.raw",
            tensors["image"],
            *pairs,
        ]
        subprocess.run(words, check=True, cwd=folder)
        return {name: np.fromfile(folder / f"{name}.raw", "float32").reshape(shapes[name]) for name in shapes}

    return run


def _signature_tensors(folder):
    """Reads the tensor in the graph of each name in the signature, from the SavedModel's protocol buffer."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "savedmodel" / "1" / "saved_model.pb").read_bytes())
    signature = model.meta_graphs[0].signature_def["serving_default"]
    return {name: info.name for side in (signature.inputs, signature.outputs) for name, info in side.items()}


def by_openvino(folder):
    """Loads the SavedModel in OpenVINO, in float32."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(folder / "savedmodel" / "1", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tensors = {tensor: name for name, tensor in _signature_tensors(folder).items()}

    def run(image, shapes):
        found = {}
        for output, value in compiled(image).items():
            names = [tensors.get(name, name) for name in output.get_names()]
            found |= {name: value for name in names if name in shapes}
        return found

    return run


def by_onnxruntime(folder):
    """Loads the ONNX file in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "onnx" / "1" / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    return lambda image, shapes: dict(zip(names, session.run(None, {"image": image}), strict=True))


CLIENTS = {
    "saved_model.load": by_tensorflow,
    "C API": by_c_program,
    "OpenVINO": by_openvino,
    "ONNX Runtime": by_onnxruntime,
}


def check(folder):
    """Runs every client on every shape; returns the number of results that differ from Keras."""
    try:
        import tfstyle  # noqa: F401
    except ImportError:
        pass
    else:
        sys.exit("tfstyle is installed here; run the check in an environment without it.")
    promised = set(json.loads((folder / "savedmodel" / "signature.json").read_text())["outputs"])
    failures = 0
    for client, load in CLIENTS.items():
        run = load(folder)
        for height, width in SHAPES:
            golden = dict(np.load(folder / f"golden-{height}x{width}.npz"))
            image = golden.pop("image")
            found = run(image, {name: value.shape for name, value in golden.items()})
            worst = max(np.linalg.norm(found[name] - golden[name]) / np.linalg.norm(golden[name]) for name in golden)
            fine = worst <= TOLERANCES[client] and set(found) == set(golden) == promised
            failures += not fine
            print(f"{client:<18}{height:>4}x{width:<5}{worst:10.1e}  {'ok' if fine else 'DIFFERS'}")
    return failures


if __name__ == "__main__":
    action, where = sys.argv[1], Path(sys.argv[2]).resolve()
    sys.exit(make(where) if action == "make" else check(where))
