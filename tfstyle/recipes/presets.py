"""tfstyle's own recipes: `balanced` (the default), `draft` and `best`."""

from __future__ import annotations

from tfstyle.recipes.loss import Loss, TermWeights
from tfstyle.recipes.parts import LBFGS, Network, StyleSize
from tfstyle.recipes.pyramid import Pyramid
from tfstyle.recipes.recipe import Recipe, replace
from tfstyle.vgg19 import STYLE_LAYERS

WASSERSTEIN_WEIGHTS = {layer: weight / 341 for layer, weight in zip(STYLE_LAYERS, (256, 64, 16, 4, 1), strict=True)}
"""Style layer weights of style-transfer-pytorch, divided by their sum."""

BALANCED = Recipe(
    name="balanced",
    summary="ours, the default: coarse to fine, distance of mean and covariance, L-BFGS; a minute at 512 px",
    # The style loss and its layer weights are those of `crowson`, except for the iteration for the matrix root.
    source="tfstyle, tuned with metrics.compare and by eye on 6 to 12 pairs of images",
    loss=Loss(
        content_layers={"block4_conv2": 1.0},
        style_layers=WASSERSTEIN_WEIGHTS,
        statistic="mean_gram",
        distance="wasserstein",
    ),
    term_weights=TermWeights(content_weight=0.0125, tv_weight=2.0),
    network=Network(
        padding_mode="replicate",
        ceil_mode=True,  # Without it, and without `style_crop`, pale bands appeared at the lower edge.
    ),
    style_size=StyleSize(style_crop=0.02),
    optimizer=LBFGS(
        max_step_rms=0.04,  # Otherwise a long early step can swap light and dark or leave spots in a sky.
    ),
    pyramid=Pyramid(
        scale_start=90,  # 128 / √2, so that sizes near 512 and 256 have as many levels as 512 and 256.
        scale_steps=(60, 40, 28),
        first_steps=40,  # So that a result below 180 px, at its only level, gets as many steps as a larger one.
        add_detail=True,  # Straight lines stay straight, and 3/4 of the evaluations reach the same loss.
        warm_start=True,
    ),
)

DRAFT = replace(
    BALANCED,
    {
        "name": "draft",
        "summary": "ours, a preview: a third of the time, in bfloat16 where that is faster; about 10 s at 512 px",
        "precision": "auto",
        "scale_steps": (20, 12, 8),
        "first_steps": 12,
    },
)

BEST = replace(
    BALANCED,
    {
        "name": "best",
        "summary": "ours, highest quality: truer to shapes and colors, in three times the time",
        "scale_steps": (150, 80, 110),
        "first_steps": 80,
        "content_weight": 0.0135,
    },
)
