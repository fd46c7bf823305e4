"""Cutting out, mirroring and scaling rendered pixels (PS3.18 §8.3.5.1.3)."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadglass.pixels.views import View

Array = NDArray[Any]


def scaled(pixels: Array, view: View) -> Array:
    """Return the part that a view shows, in its size.

    Enlarged, pixels blend into each other; reduced, each new one is the weighted
    mean of all that it covers, so that no small bright spot is lost between two.
    """
    rows, columns = view.size(*pixels.shape[:2])
    region = view.region
    if region is not None:
        bottom, right = region.top + abs(region.height), region.left + abs(region.width)
        pixels = pixels[region.top : bottom, region.left : right]
        pixels = pixels[:: -1 if region.height < 0 else 1]
        pixels = pixels[:, :: -1 if region.width < 0 else 1]
    if pixels.shape[:2] == (rows, columns):
        return np.ascontiguousarray(pixels)
    found = _along_rows(pixels, rows)
    found = np.swapaxes(_along_rows(np.swapaxes(found, 0, 1), columns), 0, 1)
    return np.ascontiguousarray(np.clip(np.floor(found + 0.5), 0, 255), np.uint8)


def _along_rows(pixels: Array, count: int) -> Array:
    """Resample the first axis with a triangle as wide as what a new pixel covers."""
    size = pixels.shape[0]
    if size == count:
        return pixels
    scale = size / count
    reach = max(1.0, scale)
    centers = (np.arange(count) + 0.5) * scale - 0.5
    firsts = np.ceil(centers - reach).astype(np.intp)
    taps = firsts[:, None] + np.arange(2 * math.ceil(reach) + 1)
    weights = np.clip(1.0 - np.abs(taps - centers[:, None]) / reach, 0.0, None)
    weights[(taps < 0) | (taps >= size)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    taps = np.clip(taps, 0, size - 1)
    found = np.zeros((count, *pixels.shape[1:]), np.float32)
    shape = (count, *(1,) * (pixels.ndim - 1))
    for tap in range(taps.shape[1]):
        weight = weights[:, tap].astype(np.float32).reshape(shape)
        found += pixels[taps[:, tap]] * weight
    return found
