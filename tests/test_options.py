"""Options of a training: their ranges, and which may change when it is resumed."""

import json

import numpy as np
import pytest

from tfstyle.errors import UsageError
from tfstyle.fields import option_fields
from tfstyle.training.options import AdaINOptions, FastOptions, GANOptions


@pytest.mark.parametrize("kind", [FastOptions, AdaINOptions, GANOptions])
def test_every_field_is_an_option_of_the_command_line(kind):
    assert {item.name for item in option_fields(kind)} == set(vars(kind()))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "`steps` should be at least 1"),
        ("size", 16, "`size` should be at least 32"),
        ("batch", 0, "`batch` should be at least 1"),
        ("learning_rate", 0.0, "`learning_rate` should be at least"),
        ("style_weight", float("nan"), "`style_weight` should be a finite float"),
        ("seed", -1, "`seed` should be at least 0"),
        ("precision", "half", "unknown precision 'half'"),
        ("width", "slimm", "did you mean 'slim'"),
        ("width", None, "`width` should be text, not None"),
        ("precision", np.array(["auto", "mixed"]), "`precision` should be text, not array"),
        ("steps", 2.0, "`steps` should be a finite int"),
        ("steps", np.float32(2.5), "`steps` should be a finite int"),
        ("steps", "many", "`steps` should be a finite int"),
        ("batch", np.True_, "`batch` should be a finite int"),
        ("size", [64], "`size` should be a finite int"),
        ("style_weight", np.float32("nan"), "`style_weight` should be a finite float"),
        ("tv_weight", None, "`tv_weight` should be a finite float"),
    ],
)
def test_a_number_out_of_range_is_one_line(field, value, message):
    with pytest.raises(UsageError, match=message) as caught:
        FastOptions(**{field: value})
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_taken_as_pythons():
    options = FastOptions(steps=np.int64(9), batch=np.uint8(3), style_weight=np.float32(0.5), width=np.str_("full"))
    assert options == FastOptions(steps=9, batch=3, style_weight=0.5, width="full")
    assert {type(value) for value in (options.steps, options.batch)} == {int}
    assert type(options.style_weight) is float
    assert json.loads(json.dumps(options.fixed()))["batch"] == 3


def test_content_and_style_may_not_both_count_nothing():
    with pytest.raises(UsageError, match="`content_weight` and `style_weight` are both 0"):
        AdaINOptions(content_weight=0.0, style_weight=0.0)


def test_steps_and_weights_may_change_when_a_training_is_resumed_and_the_data_may_not():
    fixed = FastOptions(steps=9, size=64).fixed()
    assert fixed["size"] == 64
    assert set(fixed) == {"size", "batch", "learning_rate", "seed", "style_size", "width"}


@pytest.mark.parametrize(("word", "name"), [("mixed", "bfloat16"), ("float32", "float32"), ("auto", "auto")])
def test_mixed_precision_is_bfloat16(word, name):
    assert FastOptions(precision=word).network_precision == name


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("gan_loss", "wgan", "unknown gan_loss 'wgan'; did you mean 'wgan-gp'"),
        ("ema_decay", 1.0, "`ema_decay` should be below 1"),
        ("image_pool", -1, "`image_pool` should be at least 0"),
        ("discriminator_learning_rate", 0.0, "`discriminator_learning_rate` should be at least"),
    ],
)
def test_a_gan_option_out_of_range_is_one_line(field, value, message):
    with pytest.raises(UsageError, match=message):
        GANOptions(**{field: value})


def test_the_weights_of_a_gan_may_change_when_its_training_is_resumed_and_its_loss_may_not():
    fixed = GANOptions(gan_loss="lsgan").fixed()
    assert fixed["gan_loss"] == "lsgan"
    assert not {
        "discriminator_learning_rate",
        "kl_weight",
        "penalty_weight",
        "adversarial_weight",
        "color_weight",
    } & set(fixed)
