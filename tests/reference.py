"""Slow second implementations of what published recipes compute, from facts written down once more.

Nothing of tfstyle's network, losses or optimizers is used here: convolutions one after the other, sums as the sources
print them, L-BFGS in NumPy, Adam and SGD from Keras or by hand.
"""

import numpy as np
import tensorflow as tf

from tfstyle import images

FIRST = ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1")
FIVE = tuple(f"block{i}_conv1" for i in range(1, 6))
MEAN = np.array([103.939, 116.779, 123.68], "float32")
TORCH = np.array([0.485, 0.456, 0.406], "float32"), np.array([0.229, 0.224, 0.225], "float32")

# Where the variable lives: (to it from RGB in 0-1, back).
SPACES = {
    "unit": (lambda x: x, lambda v: v),
    "torch": (lambda x: (x - TORCH[0]) / TORCH[1], lambda v: v * TORCH[1] + TORCH[0]),
    "caffe": (lambda x: 255.0 * x[..., ::-1] - MEAN, lambda v: ((v + MEAN) / 255.0)[..., ::-1]),
}


def flat(f):
    return tf.reshape(f, [-1, f.shape[-1]])


def gram_hw(f):
    return tf.matmul(flat(f), flat(f), transpose_a=True) / (f.shape[1] * f.shape[2])


def gram_chw(f):
    return gram_hw(f) / f.shape[-1]


def gram_sum(f):
    return tf.matmul(flat(f), flat(f), transpose_a=True)


def mse(a, b):
    return tf.reduce_mean((a - b) ** 2)


def differences(x):
    return x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]


def tv_squares(x):
    return sum(tf.reduce_mean(d**2) for d in differences(x))


def tv_book(x):
    return 0.5 * sum(tf.reduce_mean(tf.abs(d)) for d in differences(x))


def tv_sum(x):
    return sum(tf.reduce_sum(tf.abs(d)) for d in differences(x))


def tv_keras(x):
    a = (x[:, :-1, :-1] - x[:, 1:, :-1]) ** 2
    b = (x[:, :-1, :-1] - x[:, :-1, 1:]) ** 2
    return tf.reduce_sum((a + b) ** 1.25)


def tv_nine(x):
    x = tf.concat([x[:, :1], x, x[:, -1:]], 1)
    x = tf.concat([x[:, :, :1], x, x[:, :, -1:]], 2)
    middle = x[:, 1:-1, 1:-1]
    straight = (x[:, 1:-1, 2:] - middle) ** 2 + (x[:, 2:, 1:-1] - middle) ** 2
    diagonal = (x[:, 2:, 2:] - middle) ** 2 + (x[:, 2:, :-2] - middle) ** 2
    return 2 * tf.reduce_mean(straight / 3 + diagonal / 12)


@tf.custom_gradient
def newton_schulz(a):
    """Root of a symmetric matrix by twelve coupled Newton-Schulz steps, and its gradient by twelve on the Lyapunov
    equation, as published for any gradient that arrives (Lin & Maji 2017)."""
    norm = tf.sqrt(tf.reduce_sum(a * a))
    eye = tf.eye(a.shape[0])
    y, z = a / norm, eye
    for _ in range(12):
        t = (3 * eye - z @ y) / 2
        y, z = y @ t, t @ z
    root = y * tf.sqrt(norm)

    def gradient(upstream):
        size = tf.sqrt(tf.reduce_sum(root * root))
        s, q = root / size, upstream / size
        for _ in range(12):
            q = (q @ (3 * eye - s @ s) - s @ (s @ q - q @ s)) / 2
            s = s @ (3 * eye - s @ s) / 2
        return q / 2

    return root, gradient


def mean_and_covariance(f):
    mean = tf.reduce_mean(flat(f), 0)
    centred = flat(f) - mean
    return mean, tf.matmul(centred, centred, transpose_a=True) / centred.shape[0] + 1e-4 * tf.eye(f.shape[-1])


def w2(f, g):
    (m, c), (m2, c2) = mean_and_covariance(f), mean_and_covariance(g)
    root = newton_schulz(c2)
    return mse(m, m2) + tf.reduce_mean(tf.linalg.diag_part(c + c2 - 2 * newton_schulz(root @ c @ root)))


def gram_style(gram, layer_weights):
    return lambda fs, gs: sum(w * mse(gram(f), gram(g)) for w, f, g in zip(layer_weights, fs, gs, strict=True))


def keras_style(fs, gs, size=96 * 64):
    """sum((S - C)²) / (4 · 3² · size²) for each layer, over five."""
    return (
        sum(tf.reduce_sum((gram_sum(f) - gram_sum(g)) ** 2) / (36.0 * size**2) for f, g in zip(fs, gs, strict=True)) / 5
    )


def w2_style(fs, gs):
    return sum(w / 341 * w2(f, g) for w, f, g in zip((256, 64, 16, 4, 1), fs, gs, strict=True))


def features(network, x, facts, wanted):
    """The wanted layers of an RGB picture in 0-1, by convolution after convolution."""
    x = 255.0 * x[..., ::-1] - MEAN
    found = {}
    for layer, (kernel, bias) in network.items():
        if layer.endswith("conv1") and found:
            x = (tf.nn.avg_pool2d if facts.get("pool") == "avg" else tf.nn.max_pool2d)(x, 2, 2, "VALID")
        if layer == "block1_conv1" and facts.get("edge") == "replicate":
            x = tf.concat([x[:, :1], x, x[:, -1:]], 1)
            x = tf.nn.conv2d(tf.concat([x[:, :, :1], x, x[:, :, -1:]], 2), kernel, 1, "VALID") + bias
        else:
            x = tf.nn.conv2d(x, kernel, 1, "SAME") + bias
        before, x = x, tf.nn.relu(x)
        found[layer] = before if facts.get("tap") == "conv" else x
        if set(wanted) <= set(found):
            return [found[layer] for layer in wanted]
    raise AssertionError(wanted)


def plain_lbfgs(
    function,
    x,
    steps,
    *,
    history,
    learning_rate,
    clip=None,
    store_projected_step=True,
    max_step_rms=np.inf,
    max_step_peak=np.inf,
    first_step_rms=None,
):
    """torch.optim.LBFGS without line search, one evaluation a step, in float64 (its documentation and Nocedal 1980)."""
    pairs, previous, path = [], None, []
    for k in range(steps):
        _, g = function(x)
        if previous is not None:
            s, y = previous[0], g - previous[1]
            if y.ravel() @ s.ravel() > 1e-10:
                pairs = [*pairs, (s, y)][-history:]
        q, alphas = -g, []
        for s, y in reversed(pairs):
            alphas.append((s.ravel() @ q.ravel()) / (y.ravel() @ s.ravel()))
            q = q - alphas[-1] * y
        if pairs:
            s, y = pairs[-1]
            q = q * (y.ravel() @ s.ravel()) / (y.ravel() @ y.ravel())
        for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
            q = q + s * (alpha - (y.ravel() @ q.ravel()) / (y.ravel() @ s.ravel()))
        q = np.clip(q, *(np.sqrt(np.mean(q**2)) * np.array((-max_step_peak, max_step_peak))))
        first = min(1.0, 1.0 / np.abs(g).sum())
        if first_step_rms is not None:
            first = first_step_rms * min(1.0, q.size * np.sqrt(np.mean(q**2))) / np.sqrt(np.mean(q**2))
        length = learning_rate * (first if k == 0 else 1.0)
        length = min(length, max_step_rms / np.sqrt(np.mean(q**2)))
        moved = x + length * q
        after = moved if clip is None else np.clip(moved, *clip)
        previous = ((after if store_projected_step else moved) - x, g)
        x = after
        path.append(x)
    return path


def plain_terms(facts, network, factors, content, style):
    """variable → [content, style, total variation] and their gradient, in the recipe's space."""
    wanted = (*facts.get("style_layers", FIVE), facts["content_layer"])
    from_space = SPACES[facts["space"]][1]

    def describe(picture):
        found = features(network, picture, facts, wanted)
        return [factors.get(name, 1.0) * f for name, f in zip(wanted, found, strict=True)]

    style_targets, content_target = describe(style)[:-1], describe(content)[-1]
    tv = facts.get("tv", lambda x: tf.constant(0.0))

    @tf.function
    def terms(variable):
        with tf.GradientTape() as tape:
            tape.watch(variable)
            found = describe(from_space(variable))
            compare = tf.reduce_sum((found[-1] - content_target) ** 2) if facts.get("content") == "sum" else None
            content_loss = mse(found[-1], content_target) if compare is None else compare
            losses = (content_loss, facts["style"](found[:-1], style_targets), tv(variable))
            losses = [w * loss for w, loss in zip(facts["weights"], losses, strict=True)]
            total = tf.add_n(losses)
        return losses, tape.gradient(total, variable)

    return terms


def losses_along(facts, network, factors, content, style, path):
    """(content, style, total variation) at sRGB images of a path."""
    terms, to_space = plain_terms(facts, network, factors, content, style), SPACES[facts["space"]][0]
    return np.array([[float(loss) for loss in terms(to_space(tf.constant(image)))[0]] for image in path])


def plain_run(facts, network, factors, content, style, steps, path=()):
    """(content, style, total variation) before each of the steps, or at the images of a path."""
    to_space = SPACES[facts["space"]][0]
    terms = plain_terms(facts, network, factors, content, style)
    start = to_space(tf.constant(content))
    if "noise" in facts:
        start = facts["noise"] * tf.random.stateless_normal(content.shape, seed=(0, 0))
    clamp = (0.0, 1.0) if facts.get("clamp") else None
    start = start if clamp is None else tf.clip_by_value(start, *clamp)
    seen = []
    if facts.get("along"):
        return np.array([[float(loss) for loss in terms(v)[0]] for v in [start, *map(to_space, path[:-1])]])
    if facts["optimizer"] == "lbfgs":

        def function(x):
            losses, gradient = terms(tf.constant(x, tf.float32))
            seen.append([float(loss) for loss in losses])
            return None, gradient.numpy().astype("float64")

        options = {"history": 100, "learning_rate": 1.0, "clip": clamp, "store_projected_step": False}
        options["max_step_rms"] = facts.get("max_step_rms", np.inf)
        plain_lbfgs(function, start.numpy().astype("float64"), steps, **options)
        return np.array(seen)
    variable, optimizer = tf.Variable(start), facts["optimizer"]()
    for _ in range(steps):
        losses, gradient = terms(variable.read_value())
        seen.append([float(loss) for loss in losses])
        optimizer.apply([gradient], [variable])
        if clamp:
            variable.assign(tf.clip_by_value(variable, *clamp))
    return np.array(seen)


def averaged_adam(facts, network, factors, pictures, counts):
    """Adam over several sizes as style-transfer-pytorch runs it: moments are carried on, the image is an average.

    Args:
        facts, network, factors: as for `plain_terms`.
        pictures: (content, style) of each scale, coarse to fine.
        counts: steps of each scale.

    Yields:
        (content, style, total variation) before a step, and the average of the iterates after it.
    """
    rate, beta_1, beta_2, epsilon, decay = 0.02, 0.9, 0.99, 1e-8, 0.99
    image, first, second, step = pictures[0][0], None, None, 0
    for (content, style), count in zip(pictures, counts, strict=True):
        size, terms = content.shape[1:3], plain_terms(facts, network, factors, content, style)
        x = np.clip(image if image.shape == content.shape else images.resize(image, *size), 0.0, 1.0)
        if first is None:
            first = second = np.zeros_like(x)
        else:
            first, second = (
                np.asarray(tf.image.resize(first, size, "bicubic")),
                np.asarray(tf.image.resize(second, size)),
            )
        total, share = (1.0 - decay) * x, 1.0 - decay
        for _ in range(count):
            losses, gradient = terms(tf.constant(x))
            step += 1
            first = beta_1 * first + (1.0 - beta_1) * gradient
            second = beta_2 * second + (1.0 - beta_2) * gradient**2
            length = rate * np.sqrt(1.0 - beta_2**step) / (1.0 - beta_1**step)
            x = np.clip(x - length * first / (np.sqrt(second) + epsilon), 0.0, 1.0)
            total, share = decay * total + (1.0 - decay) * x, decay * share + 1.0 - decay
            image = total / share
            yield [float(loss) for loss in losses], image
