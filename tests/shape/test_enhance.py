"""Step C: edges of the image where the network suspects bone."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from volforge.shape.enhance import enhance


def roof(noise=10.0, seed=0):
    """A thin dome in noise, contrast 100; the network saw it blurred and lost a part."""
    index = np.indices((60, 60, 40)) - np.array([30, 30, 0]).reshape(3, 1, 1, 1)
    r = np.linalg.norm(index, axis=0)
    bone = (r > 24) & (r < 27)
    generator = np.random.default_rng(seed)
    image = gaussian_filter(100.0 * bone, 0.5) + noise * generator.normal(size=bone.shape)
    probability = np.clip(gaussian_filter(bone.astype(float), 1.0) * 1.1, 0, 1)
    weak = (index[0] > 0) & (index[0] < 12)
    probability[weak] *= 0.45
    return image.astype(np.float32), bone, probability


def test_edges_join_what_the_network_was_unsure_of():
    image, bone, probability = roof()
    found = enhance(image, probability, 0.064)
    before = np.count_nonzero((probability > 0.5) & bone) / bone.sum()
    after = np.count_nonzero(found.mask & bone) / bone.sum()
    assert after > before + 0.05
    near = gaussian_filter(bone.astype(float), 1.0) > 0.05
    assert np.count_nonzero(found.mask & near) / found.mask.sum() > 0.95
    assert not found.fell_back


def test_the_thresholds_follow_the_image():
    found = []
    for noise in (5.0, 40.0):
        image, _, probability = roof(noise)
        found.append(enhance(image, probability, 0.064).thresholds)
    assert found[0][0] == pytest.approx(0.4 * found[0][1])
    assert found[0] != found[1]


def test_without_an_edge_the_thresholded_map_is_what_is_left():
    _, _, probability = roof()
    found = enhance(np.zeros(probability.shape, np.float32), probability, 0.064)
    assert found.fell_back
    assert not found.edges.any()
    assert (found.mask >= (probability > 0.5)).mean() > 0.99


def test_crumbs_go():
    image, _, probability = roof(noise=1.0)
    probability[2:4, 2:4, 35] = 1.0
    assert not enhance(image, probability, 0.064).mask[2:4, 2:4, 35].any()
