"""Neural style transfer in TensorFlow and Keras: makes a photograph look like a painting.

    image = tfstyle.stylize("photo.jpg", "painting.jpg", size=512)
    tfstyle.write(image, "result.png")

The public names are in the order in which data passes through them; each is loaded on first use, so that
`import tfstyle` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfstyle.registration import register_with_keras

__version__ = "0.1.0"

_HOMES = {
    "SAMPLES": "images",
    "read": "images",
    "StyleContentModel": "model",
    "VGG": "vgg",
    "load_vgg": "vgg",
    "Transfer": "transfer",
    "Step": "steps",
    "Style": "styles",
    "Recipe": "recipes.recipe",
    "RECIPES": "recipes.catalog",
    "get_recipe": "recipes.catalog",
    "write": "images",
    "stylize": "api",
    "stylize_fast": "one_pass",
    "enlarge": "enlarging",
    "clear_cache": "api",
    "sweep": "sweeps",
    "rerun": "reruns",
    "export_extractor": "serving.export",
    "TfstyleError": "errors",
    "SetupError": "errors",
    "UsageError": "errors",
    "InputError": "errors",
    "OutputError": "errors",
    "DivergedError": "errors",
    "MemoryLimitError": "errors",
    "WeightsError": "errors",
    "BatchError": "errors",
    "WorkerError": "errors",
    "Interrupted": "errors",
}

_MODULES = (
    "errors",
    "environment",
    "files",
    "vgg19",
    "recipes",
    "pictures",
    "weights",
    "statistics",
    "styles",
    "color",
    "optimizers",
    "images",
    "vgg",
    "losses",
    "wasserstein",
    "total_variation",
    "model",
    "metrics",
    "objective",
    "feedforward",
    "transfer",
    "plots",
    "callbacks",
    "checkpoint",
    "records",
    "training",
    "one_pass",
    "enlarging",
    "api",
    "sweeps",
    "batch",
    "reruns",
    "serving",
)

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from tfstyle import api as api
    from tfstyle import batch as batch
    from tfstyle import callbacks as callbacks
    from tfstyle import checkpoint as checkpoint
    from tfstyle import color as color
    from tfstyle import enlarging as enlarging
    from tfstyle import environment as environment
    from tfstyle import errors as errors
    from tfstyle import feedforward as feedforward
    from tfstyle import files as files
    from tfstyle import images as images
    from tfstyle import losses as losses
    from tfstyle import metrics as metrics
    from tfstyle import model as model
    from tfstyle import objective as objective
    from tfstyle import one_pass as one_pass
    from tfstyle import optimizers as optimizers
    from tfstyle import pictures as pictures
    from tfstyle import plots as plots
    from tfstyle import recipes as recipes
    from tfstyle import records as records
    from tfstyle import reruns as reruns
    from tfstyle import serving as serving
    from tfstyle import statistics as statistics
    from tfstyle import styles as styles
    from tfstyle import sweeps as sweeps
    from tfstyle import total_variation as total_variation
    from tfstyle import training as training
    from tfstyle import transfer as transfer
    from tfstyle import vgg as vgg
    from tfstyle import vgg19 as vgg19
    from tfstyle import wasserstein as wasserstein
    from tfstyle import weights as weights
    from tfstyle.api import clear_cache as clear_cache
    from tfstyle.api import stylize as stylize
    from tfstyle.enlarging import enlarge as enlarge
    from tfstyle.errors import BatchError as BatchError
    from tfstyle.errors import DivergedError as DivergedError
    from tfstyle.errors import InputError as InputError
    from tfstyle.errors import Interrupted as Interrupted
    from tfstyle.errors import MemoryLimitError as MemoryLimitError
    from tfstyle.errors import OutputError as OutputError
    from tfstyle.errors import SetupError as SetupError
    from tfstyle.errors import TfstyleError as TfstyleError
    from tfstyle.errors import UsageError as UsageError
    from tfstyle.errors import WeightsError as WeightsError
    from tfstyle.errors import WorkerError as WorkerError
    from tfstyle.images import SAMPLES as SAMPLES
    from tfstyle.images import read as read
    from tfstyle.images import write as write
    from tfstyle.model import StyleContentModel as StyleContentModel
    from tfstyle.one_pass import stylize_fast as stylize_fast
    from tfstyle.recipes.catalog import RECIPES as RECIPES
    from tfstyle.recipes.catalog import get_recipe as get_recipe
    from tfstyle.recipes.recipe import Recipe as Recipe
    from tfstyle.reruns import rerun as rerun
    from tfstyle.serving.export import export_extractor as export_extractor
    from tfstyle.steps import Step as Step
    from tfstyle.styles import Style as Style
    from tfstyle.sweeps import sweep as sweep
    from tfstyle.transfer import Transfer as Transfer
    from tfstyle.vgg import VGG as VGG
    from tfstyle.vgg import load_vgg as load_vgg


register_with_keras()


if not TYPE_CHECKING:  # Otherwise a type checker would accept any name.

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"tfstyle.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'tfstyle' has no attribute {name!r}")
        return getattr(importlib.import_module(f"tfstyle.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
