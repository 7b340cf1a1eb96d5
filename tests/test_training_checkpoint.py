"""The state of a training: saved and restored, also from earlier versions, and every file that is refused."""

import io
import json
import zipfile

import numpy as np
import pytest
from conftest import NOT_THE_FILES_FAULT

from tfstyle import states
from tfstyle.errors import DivergedError, UsageError, WeightsError
from tfstyle.training import checkpoint
from tfstyle.training.options import AdaINOptions, FastOptions, GANOptions

FIXED = {"batch": 2, "content images": ["a.jpg", "b.jpg"]}


class Variable:
    """Stands for a Keras variable."""

    def __init__(self, value):
        self.value = np.array(value)

    def numpy(self):
        return self.value

    def assign(self, value):
        assert value.shape == self.value.shape
        self.value = np.array(value)


class Trainer:
    """Has a kernel, a bias of no dimension, and a number of steps."""

    def __init__(self, step=0):
        self.kernel, self.bias = Variable(np.full((2, 3), step, "float32")), Variable(np.float32(step))
        self.iterations = Variable(np.int64(step))

    @property
    def step(self):
        return int(self.iterations.value)

    def state(self):
        return {
            "network": {"layer/kernel": self.kernel, "layer/bias": self.bias},
            "optimizer": {"iteration": self.iterations},
        }

    def numbers(self):
        return [variable.value.tolist() for variable in (self.kernel, self.bias, self.iterations)]


@pytest.fixture
def saved(tmp_path):
    """The path of a state after seven steps."""
    checkpoint.save_state(Trainer(7), tmp_path / "state.npz", fixed=FIXED)
    return tmp_path / "state.npz"


def test_a_state_comes_back(saved):
    trainer = Trainer()
    checkpoint.restore_state(trainer, saved, fixed=FIXED)
    assert trainer.step == 7
    assert trainer.numbers() == Trainer(7).numbers()


def test_variables_are_found_by_name_in_whatever_order(tmp_path):
    """Two of one shape, which a position would exchange."""

    class Reordered(Trainer):
        def __init__(self, step, names):
            super().__init__(step)
            self.parts = {name: Variable(np.float32(step + index)) for index, name in enumerate(sorted(names))}
            self.order = names

        def state(self):
            return super().state() | {"network": {name: self.parts[name] for name in self.order}}

    checkpoint.save_state(Reordered(7, ["scale", "shift"]), tmp_path / "state.npz", fixed=FIXED)
    trainer = Reordered(0, ["shift", "scale"])
    checkpoint.restore_state(trainer, tmp_path / "state.npz", fixed=FIXED)
    assert {name: float(variable.value) for name, variable in trainer.parts.items()} == {"scale": 7.0, "shift": 8.0}


def by_position(**changes):
    """The arrays of a state of an earlier version."""
    former = {
        "fixed": np.array(json.dumps({"batch": 2, "photographs": ["a.jpg", "b.jpg"], "average": 0.5})),
        "network/0": np.full((2, 3), 7, "float32"),
        "network/1": np.float32(7),
        "optimizer/0": np.int64(7),
    }
    return former | changes


def test_a_state_of_an_earlier_version_comes_back(tmp_path):
    """Variables by position, options under their former names."""
    np.savez(tmp_path / "state.npz", **by_position())
    trainer = Trainer()
    checkpoint.restore_state(trainer, tmp_path / "state.npz", fixed=FIXED | {"ema_decay": 0.5})
    assert trainer.numbers() == Trainer(7).numbers()
    with pytest.raises(UsageError, match=r"was made with ema_decay 0.5, not 0.9; resume with ema_decay 0.5\."):
        checkpoint.restore_state(trainer, tmp_path / "state.npz", fixed=FIXED | {"ema_decay": 0.9})


@pytest.mark.parametrize("changes", [{"network/2": np.zeros(3)}, {"network/1": np.zeros(3, "float32")}])
def test_a_state_of_an_earlier_version_and_another_network_is_refused(changes, tmp_path):
    np.savez(tmp_path / "state.npz", **by_position(**changes))
    with pytest.raises(WeightsError, match="state of another network; start again with `overwrite`"):
        checkpoint.restore_state(Trainer(), tmp_path / "state.npz", fixed=FIXED)


def test_every_former_name_of_an_option_has_a_present_one():
    options = {name for kind in (FastOptions, AdaINOptions, GANOptions) for name in kind().fixed()}
    present = options | {"style image", "style images", "content images"}
    assert set(checkpoint.FORMER_NAMES.values()) <= present
    assert not set(checkpoint.FORMER_NAMES) & present


def test_a_state_that_is_not_finite_is_not_written(saved):
    before, trainer = saved.read_bytes(), Trainer(3)
    trainer.kernel.value[0, 1] = np.nan
    with pytest.raises(DivergedError, match="not finite at step 3; choose a smaller `learning_rate`"):
        checkpoint.save_state(trainer, saved, fixed=FIXED)
    assert saved.read_bytes() == before


def test_other_numbers_are_named_shortly(saved):
    with pytest.raises(UsageError, match="was made with batch 2, not 8; resume with batch 2"):
        checkpoint.restore_state(Trainer(), saved, fixed=FIXED | {"batch": 8})
    with pytest.raises(UsageError, match=r"content images \['a.jpg', 'b.jpg'\], not \['c.jpg', .*\.\.\.\]") as caught:
        checkpoint.restore_state(Trainer(), saved, fixed=FIXED | {"content images": ["c.jpg"] * 10_000})
    assert len(str(caught.value)) < 300


def arrays(**changes):
    """The arrays of the saved state, some changed; None leaves one out."""
    whole = {
        "fixed": np.array(json.dumps(FIXED)),
        "network/layer/kernel": np.full((2, 3), 7, "float32"),
        "network/layer/bias": np.float32(7),
        "optimizer/iteration": np.int64(7),
    }
    names = {name.rpartition("/")[2]: name for name in whole}
    whole |= {names.get(name, name): value for name, value in changes.items()}
    return {name: value for name, value in whole.items() if value is not None}


def as_npz(content, save=np.savez):
    stream = io.BytesIO()
    save(stream, **content)
    return stream.getvalue()


def with_header(shape, dtype="<f4"):
    """A state whose first array says it has another shape than its bytes have room for."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    whole = zipfile.ZipFile(io.BytesIO(as_npz(arrays())))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in whole.namelist():
            archive.writestr(
                name, header.getvalue() + bytes(24) if name == "network/layer/kernel.npy" else whole.read(name)
            )
    return stream.getvalue()


ANOTHER, DAMAGED, ABSURD = "state of another network", "damaged or no training state", "that no training writes"
HOSTILE = {
    "nothing": (b"", DAMAGED),
    "text": (b"nothing", DAMAGED),
    "cut": (as_npz(arrays())[:500], DAMAGED),
    "compressed": (as_npz(arrays(kernel=np.zeros((1000, 1000))), np.savez_compressed), "compressed or encrypted"),
    "an array too few": (as_npz(arrays(bias=None)), ANOTHER),
    "an array too many": (as_npz(arrays(other=np.zeros(3))), ANOTHER),
    "no options": (as_npz(arrays(fixed=None)), DAMAGED),
    "options of numbers": (as_npz(arrays(fixed=np.zeros(3))), DAMAGED),
    "options that are a list": (as_npz(arrays(fixed=np.array("[1]"))), DAMAGED),
    "nested options": (as_npz(arrays(fixed=np.array("[" * 20_000))), DAMAGED),
    "another name": (as_npz(arrays(kernel=None, core=np.full((2, 3), 7, "float32"))), ANOTHER),
    "another shape": (as_npz(arrays(kernel=np.zeros((3, 2), "float32"))), ANOTHER),
    "float64": (as_npz(arrays(kernel=np.zeros((2, 3)))), ANOTHER),
    "text for numbers": (as_npz(arrays(kernel=np.full((2, 3), "7"))), ANOTHER),
    "objects": (as_npz(arrays(kernel=np.full((2, 3), None))), DAMAGED),
    "a shape of 2^40": (with_header((2**40,)), DAMAGED),
    "a shape of 2^70": (with_header((2**70,)), DAMAGED),
    "a type of 2 GB": (with_header((), "V2147483647"), DAMAGED),
    "a negative step": (as_npz(arrays(iteration=np.int64(-1))), ABSURD),
    "a step of 2^31-1": (as_npz(arrays(iteration=np.int64(2**31 - 1))), ABSURD),
    "NaN": (as_npz(arrays(bias=np.float32("nan"))), ABSURD),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_state_is_refused_in_one_line_and_changes_nothing(content, message, tmp_path, little_memory):
    trainer, path = Trainer(4), tmp_path / "state.npz"
    path.write_bytes(content)
    with little_memory(), pytest.raises(WeightsError, match=message) as caught:
        checkpoint.restore_state(trainer, path, fixed=FIXED)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("start again with `overwrite`.")
    assert trainer.numbers() == Trainer(4).numbers()


def test_a_file_that_is_larger_than_the_state_can_be_is_not_read(saved, monkeypatch):
    monkeypatch.setattr(states, "MAX_OPTIONS_BYTES", 100)
    with pytest.raises(WeightsError, match="at most 136 are read"):  # 6 + 1 numbers of 4 bytes and one of 8.
        checkpoint.restore_state(Trainer(), saved, fixed=FIXED)


@pytest.mark.parametrize(("raised", "expected", "message"), NOT_THE_FILES_FAULT)
def test_what_is_no_fault_of_the_state_is_told_as_such(raised, expected, message, saved, monkeypatch):
    def fail(*rest):
        raise raised

    monkeypatch.setattr(type(saved), "read_bytes", fail)
    with pytest.raises(expected, match=rf"state\.npz: {message}") as caught:
        checkpoint.restore_state(Trainer(), saved, fixed=FIXED)
    assert "overwrite" not in str(caught.value)


def test_a_missing_state_is_one_line(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.npz: is missing, damaged or no training state \(there is no such"):
        checkpoint.restore_state(Trainer(), tmp_path / "none.npz", fixed=FIXED)
