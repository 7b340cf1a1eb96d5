"""The model that computes content and style of an image: VGG-19 followed by a statistic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfstyle.environment import dtype_policy, keras, tf
from tfstyle.errors import UsageError
from tfstyle.magnitudes import feature_scales
from tfstyle.recipes.loss import Loss
from tfstyle.recipes.parts import Network
from tfstyle.statistics import Statistic, SufficientStatistics, find_statistic, scale, sufficient_statistics
from tfstyle.vgg import VGG, Blocks, load_vgg
from tfstyle.vgg19 import VGG19_BLOCKS


@keras.saving.register_keras_serializable(package="tfstyle")
class StyleContentModel(keras.Model):
    """Computes the content features and the style statistics of an image.

    Args:
        style_layers: layers whose statistic describes the style.
        content_layers: layers whose features describe the content.
        other_layers: further layers that the network has to include, for custom losses.
        statistic: statistic computed at the style layers: a name in `statistics.STATISTICS`, or a function of
            `statistics.SufficientStatistics`; a model with a function cannot be saved as a `.keras` file.
        feature_scales: layer → factor for its features, or one factor per filter, for loss weights published for
            another network (`magnitudes.feature_scales`); an absent layer keeps its features.
        weights: "embedded", "imagenet", a weights file, or None for random ones, as when a saved model is loaded.
        activation, pooling, ceil_mode, padding_mode, blocks: as for `vgg.VGG`.
        input_scale: likewise, or "auto" for what the weights file suggests.
        **kwargs: of `keras.Model`; `dtype="mixed_bfloat16"` computes convolutions in bfloat16.

    Raises:
        UsageError: if a layer or another name is unknown, or no layer is given.
        WeightsError: if the weights cannot be used.

    Call it on float32 [batch, height, width, 3], sRGB, in [0, 1]; it returns {"style": {layer: statistic}, "content":
    {layer: features}}, in float32. The model is frozen: it has no trainable weights.
    """

    def __init__(
        self,
        style_layers: Sequence[str],
        content_layers: Sequence[str],
        *,
        other_layers: Sequence[str] = (),
        statistic: str | Statistic = "gram",
        feature_scales: Mapping[str, float | Sequence[float] | np.ndarray] | None = None,
        weights: str | None = "embedded",
        activation: str | Mapping[str, str] = "post",
        pooling: str = "max",
        ceil_mode: bool = False,
        padding_mode: str = "zero",
        input_scale: str = "auto",
        blocks: Blocks = VGG19_BLOCKS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))  # Regardless of the global policy.
        self.style_layers, self.content_layers = tuple(style_layers), tuple(content_layers)
        self.statistic = statistic
        self._statistic = find_statistic(statistic)
        self.feature_scales = {layer: np.ravel(scale).tolist() for layer, scale in (feature_scales or {}).items()}
        layers = tuple(dict.fromkeys((*self.style_layers, *self.content_layers, *other_layers)))
        options: dict = {
            "activation": activation,
            "pooling": pooling,
            "ceil_mode": ceil_mode,
            "padding_mode": padding_mode,
            "blocks": blocks,
            "dtype": self.dtype_policy,
        }
        if weights is None:
            self.vgg = VGG(layers, input_scale="keras" if input_scale == "auto" else input_scale, **options)
        else:
            self.vgg = load_vgg(layers, weights=weights, input_scale=input_scale, **options)
        self.trainable = False

    def __call__(self, image: tf.Tensor, *args: Any, **kwargs: Any) -> dict[str, dict[str, tf.Tensor]]:
        """Checks the image, then calls the model; Keras would add lines to an error raised inside `call`."""
        found: dict[str, dict[str, tf.Tensor]] = super().__call__(self.vgg.check_image(image), *args, **kwargs)
        return found

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the network's weights, unless a weights file already did."""
        if not self.vgg.built:
            self.vgg.build(input_shape)
        self.built = True

    def call(self, image: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
        """Computes style statistics and content features of an image; see the class."""
        features = self.vgg(image)
        sums = {layer: sufficient_statistics(features[layer]) for layer in self.style_layers}
        content = self.scale({layer: features[layer] for layer in self.content_layers})
        return {"style": self.statistics(sums), "content": content}

    def statistics(self, sums: Mapping[str, SufficientStatistics]) -> dict[str, tf.Tensor]:
        """Computes the statistic of each layer from sums over the features of the network."""
        factors = self.feature_scales  # Sums are scaled instead of the features, which are far larger.
        scaled = {layer: scale(s, factors[layer]) if layer in factors else s for layer, s in sums.items()}
        return {layer: self._statistic(scaled[layer]) for layer in sums}

    def scale(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns features of the network in float32, multiplied by `feature_scales`."""
        wide = {layer: tf.cast(found, self.variable_dtype) for layer, found in features.items()}
        factors = {layer: tf.constant(self.feature_scales[layer]) for layer in wide if layer in self.feature_scales}
        return {layer: found * factors[layer] if layer in factors else found for layer, found in wide.items()}

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Raises an error, because Keras' own export cannot write nested outputs.

        Raises:
            UsageError: always; `tfstyle.export_extractor` writes the model.
        """
        raise UsageError("the outputs are nested; use tfstyle.export_extractor(model, directory, format=...).")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of `__init__` except the weights, which the saved model contains."""
        if not isinstance(self.statistic, str):
            raise UsageError("a model with a statistic of your own cannot be saved; use tfstyle.export_extractor.")
        network = self.vgg.get_config()
        shared = ("activation", "pooling", "ceil_mode", "padding_mode", "input_scale", "blocks")
        config: dict[str, Any] = super().get_config()
        return config | {
            "style_layers": list(self.style_layers),
            "content_layers": list(self.content_layers),
            "other_layers": network["layers"],
            "statistic": self.statistic,
            "feature_scales": self.feature_scales,
            "weights": None,
            **{key: network[key] for key in shared},
        }


def build_model(network: Network, loss: Loss) -> StyleContentModel:
    """Builds the model of a recipe.

    Args:
        network: the network, and how it computes.
        loss: defines the layers and the statistic.

    Raises:
        WeightsError: if the network's weights cannot be used.
    """
    model = StyleContentModel(
        tuple(loss.style_layers),
        tuple(loss.content_layers),
        other_layers=loss.layers(),
        statistic=loss.statistic,
        feature_scales=feature_scales(network, loss.layers()),
        weights=network.weights,
        activation=network.activation,
        pooling=network.pooling,
        ceil_mode=network.ceil_mode,
        padding_mode=network.padding_mode,
        input_scale=network.input_scale,
        dtype=dtype_policy(network.precision),
    )
    if network.input_scale == "auto" and model.vgg.input_scale == "torch" and network.trained_on == "torchvision":
        model.vgg.input_scale = network.published_scale  # The recipe's source may omit torch's mean and deviation.
    return model
