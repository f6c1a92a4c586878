"""The published network by Keras's own formulas, in numpy, and a made-up file of its weights."""

import numpy as np


def layers(width, rng):
    """(name, {role: array}) of a network of this width, in the order in which it is passed."""
    found, before = [], 1

    def norm(channels, k):
        roles = {"gamma": (1, 0.2), "beta": (0, 0.2), "moving_mean": (0, 0.3)}
        own = {r: rng.normal(m, s, channels).astype(np.float32) for r, (m, s) in roles.items()}
        own["moving_variance"] = rng.uniform(0.5, 2, channels).astype(np.float32)
        found.append((f"batch_normalization_{k}", own))

    def kernel(name, shape, after):
        spread = 1 / np.sqrt(np.prod(shape) / after)
        own = {"kernel": rng.normal(0, spread, shape), "bias": rng.normal(0, 0.1, after)}
        found.append((name, {k: v.astype(np.float32) for k, v in own.items()}))

    for k, (factor, side) in enumerate(((1, 5), (2, 5), (4, 5), (16, 1))):
        after = factor * width
        kernel(f"conv3d_{k + 1}", (side,) * 3 + (before, after), after)
        if k < 3:
            norm(after, k + 1)
        before = after
    for k, after in enumerate((8 * width, 4 * width, 2 * width, 1, 1)):
        kernel(f"conv3d_transpose_{k + 1}", (5, 5, 5, after, before), after)
        if k < 4:
            norm(after, k + 4)
        before = after
    return found


def halved(x, kernel, bias):
    """Stride 2 and padding `same` as TensorFlow has it: (X, Y, Z, C) to half of it."""
    side = kernel.shape[0]
    pads = []
    for n in x.shape[:3]:
        total = max((-(-n // 2) - 1) * 2 + side - n, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(x, [*pads, (0, 0)])
    out = tuple(-(-n // 2) for n in x.shape[:3])
    found = np.zeros((*out, kernel.shape[-1]))
    for i, j, k in np.ndindex(side, side, side):
        part = padded[i : i + 2 * out[0] : 2, j : j + 2 * out[1] : 2, k : k + 2 * out[2] : 2]
        found += part @ kernel[i, j, k]
    return found + bias


def scattered(x, kernel, bias):
    """A transposed convolution of stride 1 and padding `same`: every voxel adds its kernel about itself."""
    side, (a, b, c) = kernel.shape[0], x.shape[:3]
    wide = np.zeros((a + side - 1, b + side - 1, c + side - 1, kernel.shape[3]))
    for i, j, k in np.ndindex(side, side, side):
        wide[i : i + a, j : j + b, k : k + c] += x @ kernel[i, j, k].T
    h = side // 2
    return wide[h : h + a, h : h + b, h : h + c] + bias


def normed(x, w):
    return (x - w["moving_mean"]) / np.sqrt(w["moving_variance"] + 1e-3) * w["gamma"] + w["beta"]


def forward(x, made, head=np.tanh):
    """(X, Y, Z) through the network in inference."""
    named = {n: {k: v.astype(float) for k, v in w.items()} for n, w in made}
    x = x[..., None].astype(float)
    for k in range(1, 5):
        w = named[f"conv3d_{k}"]
        x = halved(x, w["kernel"], w["bias"])
        x = np.where(x > 0, x, 0.2 * x)
        x = normed(x, named[f"batch_normalization_{k}"]) if k < 4 else x
    for k in range(1, 6):
        if k != 2:
            x = x.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        w = named[f"conv3d_transpose_{k}"]
        x = scattered(x, w["kernel"], w["bias"])
        x = np.maximum(x, 0) if k < 4 else np.tanh(x) if k == 4 else head(x)
        x = normed(x, named[f"batch_normalization_{k + 3}"]) if k < 5 else x
    return x[..., 0]


def write_file(path, made, nested=True):
    """An HDF5 file as Keras 2 writes it: by `model.save` of a network inside another one, or `save_weights`."""
    import h5py

    trainable = [(n, r, a) for n, w in made for r, a in w.items() if not r.startswith("moving")]
    others = [(n, r, a) for n, w in made for r, a in w.items() if r.startswith("moving")]
    with h5py.File(path, "w") as file:
        top = file.create_group("model_weights") if nested else file
        if nested:
            groups = {"input_2": [], "sequential_1": [*trainable, *others]}
        else:
            groups = {n: [(n, r, a) for r, a in w.items()] for n, w in made} | {"leaky_re_lu_1": []}
        top.attrs["layer_names"] = [n.encode() for n in groups]
        for name, weights in groups.items():
            group = top.create_group(name)
            group.attrs["weight_names"] = [f"{n}/{r}:0".encode() for n, r, _ in weights]
            for n, r, a in weights:
                group.create_dataset(f"{n}/{r}:0", data=a)
