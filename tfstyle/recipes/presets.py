"""tfstyle's own recipes: `balanced` (the default), `draft`, `best`, `nnst` and `wasserstein`."""

from __future__ import annotations

from tfstyle.recipes.loss import Loss, TermWeights
from tfstyle.recipes.parts import LBFGS, Network, StyleSize
from tfstyle.recipes.pyramid import Pyramid
from tfstyle.recipes.recipe import Recipe, replace
from tfstyle.vgg19 import STYLE_LAYERS, filters, layer_names

WASSERSTEIN_WEIGHTS = {layer: weight / 341 for layer, weight in zip(STYLE_LAYERS, (256, 64, 16, 4, 1), strict=True)}
"""Style layer weights of style-transfer-pytorch, divided by their sum."""

WASSERSTEIN = Recipe(
    name="wasserstein",
    summary="ours: distance of mean and covariance alone, of whole paintings, in float32",
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

HYPERCOLUMN_LAYERS = {layer: 1.0 / filters(layer) for layer in layer_names() if layer < "block4_conv4"}
"""Blocks 1 to 4 but for the last layer; divided by the number of filters, all embedded layers count alike."""

BALANCED = replace(
    WASSERSTEIN,
    {
        "name": "balanced",
        "summary": "ours, the default: coarse to fine, L-BFGS, few foreign objects; a minute at 512 px",
        "precision": "auto",
        # Statistics require that everything the painting shows appears somewhere. What it shows once counts for less,
        # and each place is drawn to a place of the painting that resembles the photograph's: deep features keep
        # objects out, shallow ones keep concentrated detail out of skies. In blind comparisons on 20 pairs, neighbors
        # of block 4 alone were preferred to `wasserstein` in 31.5 of 40 answers, those of blocks 1, 2 and 4 to these
        # in 26, and all of blocks 1 to 4 to those in 27.
        "recurrence": 1.0,
        "neighbor_layers": HYPERCOLUMN_LAYERS,
        "neighbor_weight": 0.35,
        "content_weight": 0.02,
        # More of it removes fine detail everywhere, and the style loss asks it back in concentrated patches: 0.5 was
        # preferred to 2 in 25 of 40 answers; 0 to 0.5 in 23, but leaves some grain.
        "tv_weight": 0.5,
        "palette": 0.5,  # Otherwise neighbors are chosen by color.
        "style_enlarge": False,
        # Without a limit, a few places of an even sky changed far more than the rest: crunchy patches.
        "max_step_peak": 2.0,
        "first_step_rms": 0.01,
        # A level that begins with strokes needs few steps, and no optimizer that knows the level before: from an even
        # sky both made crunchy patches.
        "add_style_detail": True,
        "warm_start": False,
        "scale_steps": (40, 20, 12),
    },
)

DRAFT = replace(
    BALANCED,
    {
        "name": "draft",
        "summary": "ours, a preview in half the time; about 30 s at 512 px",
        "scale_steps": (20, 12, 4),
        "first_steps": 12,
    },
)

BEST = replace(
    BALANCED,
    {
        "name": "best",
        "summary": "ours, highest quality: truer to shapes and colors, in three times the time",
        "scale_steps": (150, 80, 40),
        "first_steps": 80,
        "content_weight": 0.0215,
    },
)

NNST = replace(
    WASSERSTEIN,
    {
        "name": "nnst",
        "summary": "ours, after Kolkin et al.: nearest neighbors; each place looks like some place of the painting",
        "source": "Kolkin, Kucera, Paris, Sykora, Shechtman, Shakhnarovich: Neural Neighbor Style Transfer (2022)",
        "departures": (
            "VGG-19 and L-BFGS instead of VGG-16 and Adam on a Laplacian pyramid.",
            "Shallow layers are averaged over cells, not sampled.",
            "A tenth of the style loss of blocks 1 and 2 keeps palette and touch.",
            "The painting is not rotated, and no last pass searches layer by layer.",
            "Features of photograph and image are mixed for the search, not the images.",
            "Colors are moved to the painting's before the run as well as after it.",
            "Total variation has a weight of 0.3.",
        ),
        "precision": "auto",
        "neighbor_layers": HYPERCOLUMN_LAYERS,
        "neighbor_weight": 1.0,
        "style_layers": {layer: WASSERSTEIN_WEIGHTS[layer] for layer in ("block1_conv1", "block2_conv1")},
        "style_weight": 0.1,
        "content_weight": 0.0,
        "tv_weight": 0.3,
        "palette": 1.0,
        "scale_start": 60,
        "scale_steps": (60, 60, 40, 30),
    },
)

ENOUGH_MATCHED = 0.6
"""Share of the style image that the content image should match (`metrics.matched_share`) for a loss of whole images;
below it, results with regions were preferred in blind comparisons, above it mostly those without."""


def with_regions(recipe: Recipe) -> Recipe:
    """Returns the recipe for a content image that has no place for much of what the style image shows.

    Three regions, less weight for what the painting shows once, and more for the content, because each region is
    drawn to its own target.
    """
    weight = 1.6 * recipe.term_weights.content_weight
    return replace(recipe, {"regions": "3", "recurrence": recipe.loss.recurrence or 1.0, "content_weight": weight})
