"""The commands `tfstyle train fast`, `adain` and `gan` with their options and their help.

Hyperparameters are read from the dataclasses of `training.options`. Nothing here loads TensorFlow.
"""

from __future__ import annotations

import argparse
from typing import Any

from tfstyle.cli import options
from tfstyle.fields import option_fields
from tfstyle.training.options import AdaINOptions, FastOptions, GANOptions


def add_train(commands: Any) -> None:
    """Adds `train` and its three kinds."""
    help = "train a network that stylizes in one pass"
    train = commands.add_parser(
        "train",
        usage="%(prog)s KIND ...",
        help=help,
        description=options.describe(help, ["tfstyle train fast painting.jpg --photos photos/ -o network/"]),
        formatter_class=options.formatter,
    )
    kinds = train.add_subparsers(title="kinds", dest="kind", required=True, metavar="KIND", prog="tfstyle train")
    for name, arguments, help, numbers in (
        ("fast", "painting.jpg", "train a network for the style of one painting", FastOptions),
        ("adain", "--styles paintings/", "train the decoder of AdaIN, for the style of any painting", AdaINOptions),
        (
            "gan",
            "--styles paintings/",
            "train a generative adversarial network (GAN) on a folder of paintings",
            GANOptions,
        ),
    ):
        line = f"tfstyle train {name} {arguments} --photos photos/ -o network/"
        kind = options.add_command(
            kinds,
            name,
            f"{'STYLE' if name == 'fast' else '--styles DIR'} --photos DIR -o DIR",
            line,
            f"{line} --resume",
            help=help,
            run="train.run",
            epilog=options.EVENTS,
        )
        _add_training(kind, numbers)


def _add_training(command: argparse.ArgumentParser, numbers: type) -> None:
    """Adds the options of a training command; its hyperparameters are fields of the dataclass `numbers`."""
    if numbers is FastOptions:
        command.add_argument_group("pictures").add_argument("style", metavar="STYLE", help="the painting (style image)")
    common = command.add_argument_group("common options")
    if numbers is not FastOptions:
        common.add_argument("--styles", metavar="DIR", required=True, help="a folder of paintings (style images)")
    common.add_argument("--photos", metavar="DIR", required=True, help="a folder of photographs (content images)")
    help = "the folder for the network, its checkpoint (state.npz), losses and sample sheets"
    options.add_output(common, "DIR", help, required=True)
    common.add_argument("--resume", action="store_true", help="continue the training in the folder")
    hyperparameters = command.add_argument_group("hyperparameters")
    files = command.add_argument_group("files")
    computation = command.add_argument_group("computation")
    elsewhere = {"steps": common, "size": common, "save_every": files, "precision": computation}
    options.add_fields(hyperparameters, option_fields(numbers), elsewhere=elsewhere, shown=True)
    files.add_argument("--samples", metavar="DIR", help="photographs for the sample sheets [the built-in ones]")
    options.add_overwrite(files, "discard the training in the folder and start again")
    if numbers is not GANOptions:
        help = "data-parallel training on all devices, and on the machines of TF_CONFIG"
        computation.add_argument("--mirrored", action="store_true", help=help)
    options.add_messages(command)
