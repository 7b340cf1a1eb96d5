"""The import of TensorFlow and Keras, in fresh processes; what suits the processor; whether a run fits in memory."""

import os
import subprocess
import sys

import pytest

from tfstyle import environment


def run(code, **variables):
    """Runs Python code in a fresh process; returns (exit code, standard output, last line of standard error)."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables, check=False
    )
    return result.returncode, result.stdout.strip(), (result.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"KERAS_BACKEND": "jax"}, "tfstyle runs on Keras' tensorflow backend, but KERAS_BACKEND is 'jax'"),
        ({"TF_USE_LEGACY_KERAS": "1"}, "tfstyle needs Keras 3, but TF_USE_LEGACY_KERAS asks for Keras 2"),
    ],
)
def test_another_keras_is_refused_in_one_line(variables, message):
    code, _, error = run("import tfstyle; tfstyle.stylize", **variables)
    assert code == 1
    assert message in error
    code, _, error = run("from tfstyle.cli import main; raise SystemExit(main(['doctor']))", **variables)
    assert code == 1
    assert error.startswith(f"tfstyle: error: {message}")


def test_the_configuration_file_of_keras_is_checked_too(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "numpy", "image_data_format": "channels_last"}')
    _, _, error = run("import tfstyle; tfstyle.stylize", KERAS_HOME=str(tmp_path))
    assert f"the backend in {tmp_path / 'keras.json'} is 'numpy'" in error
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow", "image_data_format": "channels_first"}')
    _, _, error = run("import tfstyle; tfstyle.VGG(['block1_conv1'])", KERAS_HOME=str(tmp_path))
    assert "Keras is configured for channels_first" in error


def test_importing_tfstyle_loads_nothing_heavy():
    code = "import sys, tfstyle; print([m for m in ('tensorflow', 'keras', 'numpy', 'PIL') if m in sys.modules])"
    assert run(code)[:2] == (0, "[]")


def test_the_import_leaves_garbage_collection_as_it_was():
    code = """
import gc, importlib
gc.disable()
from tfstyle import environment
found = [gc.isenabled()]
gc.enable()
importlib.reload(environment)
print(found + [gc.isenabled()])
"""
    assert run(code)[:2] == (0, "[False, True]")


def test_using_tfstyle_changes_no_setting():
    code = """
import logging, os
import keras, tensorflow as tf
def state():
    return (keras.config.dtype_policy().name, keras.config.floatx(), logging.getLogger().level,
            tf.get_logger().level, tf.config.get_soft_device_placement(), os.environ.get("TF_CPP_MIN_LOG_LEVEL"),
            tf.config.experimental.tensor_float_32_execution_enabled(), logging.getLogger("tfstyle").handlers)
before = state()
import tfstyle
for name in tfstyle.__all__: getattr(tfstyle, name)
print(before == state())
"""
    assert run(code)[:2] == (0, "True")


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    code = "import tfstyle; print([n for n in dir(tfstyle) if getattr(tfstyle, n) is None], hasattr(tfstyle, 'x'))"
    assert run(code)[:2] == (0, "[] False")


@pytest.mark.parametrize("asked", [None, "0", "1"])
def test_onednn_is_used_where_tensorflow_says_so(asked):
    """TensorFlow logs it while it is imported."""
    code = "from tfstyle import environment; print(environment.uses_onednn())"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    variables |= {} if asked is None else {"TF_ENABLE_ONEDNN_OPTS": asked}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=True)
    assert result.stdout.strip() == str("oneDNN custom operations are on" in result.stderr)


@pytest.mark.parametrize(
    ("flags", "asked", "onednn", "bfloat16", "flips"),
    [
        ({"avx2"}, None, False, False, True),  # The gradient is slow without oneDNN.
        ({"avx2", "avx512f"}, None, False, False, True),
        ({"avx2", "avx512_vnni"}, None, True, False, False),
        ({"avx2", "avx512_vnni", "avx512_bf16"}, None, True, True, False),
        ({"avx2", "avx512_vnni", "avx512_bf16"}, "0", False, False, True),
        ({"avx2"}, "1", True, False, False),
        ({"avx2"}, "true", True, False, False),
        (set(), None, False, False, False),  # Not x86, or not Linux: TensorFlow's own.
    ],
)
def test_the_processors_flags_decide_on_the_arithmetic(flags, asked, onednn, bfloat16, flips, monkeypatch):
    monkeypatch.setattr(environment, "read_processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(environment, "has_gpu", lambda: False)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if asked:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", asked)
    assert environment.uses_onednn() is onednn
    assert environment.bfloat16_is_fast() is bfloat16
    assert environment.should_flip_kernels() is flips
    assert (environment.should_flip_kernels("on"), environment.should_flip_kernels("off")) == (True, False)
    assert environment.resolve_settings() == {"oneDNN": onednn, "bfloat16": bfloat16, "flip_kernels": flips}
    monkeypatch.setattr(environment, "has_gpu", lambda: True)
    assert (environment.bfloat16_is_fast(), environment.should_flip_kernels()) == (False, False)


def test_gpu_memory_grows_unless_a_gpu_is_in_use(monkeypatch):
    """There need be no GPU: TensorFlow refuses with a RuntimeError once it has initialized one."""
    grown = []
    monkeypatch.setattr(environment.tf.config, "list_physical_devices", lambda kind: ["a", "b", "c"])

    def set_growth(gpu, enable):
        if gpu == "b":
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        grown.append((gpu, enable))

    monkeypatch.setattr(environment.tf.config.experimental, "set_memory_growth", set_growth)
    environment.grow_gpu_memory()
    assert grown == [("a", True)]


def test_a_run_fits_if_free_and_reusable_memory_suffice(monkeypatch):
    """8 bytes are free; a finished run of 5 bytes leaves 5 more to reuse, and a smaller one afterwards no less."""
    monkeypatch.setattr(environment, "available_memory", lambda: 8)
    monkeypatch.setattr(environment, "has_gpu", lambda: False)
    assert (environment.check_free_memory(8), environment.check_free_memory(9)) == (None, 8)
    for finished in (5, 2):
        environment.record_memory(finished)
        assert (environment.check_free_memory(13), environment.check_free_memory(14)) == (None, 13)


@pytest.mark.parametrize(("free", "gpu"), [(None, False), (8, True)])
def test_nothing_is_checked_with_a_gpu_or_if_free_memory_is_unknown(free, gpu, monkeypatch):
    monkeypatch.setattr(environment, "available_memory", lambda: free)
    monkeypatch.setattr(environment, "has_gpu", lambda: gpu)
    assert environment.check_free_memory(10**15) is None
