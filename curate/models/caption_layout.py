"""How a clip becomes the one image an image captioner sees: sparse frames laid out as square tiles in time order.

    single         grid           grid_motion
    ┌────────┐     ┌───┬───┐      ┌───┬───┐
    │ middle │     │ 0 │ 1 │      │ 0 │ 1 │     0 first, 1 middle, 2 last frame
    └────────┘     ├───┼───┤      ├───┼───┤     M motion: what differs from the still background,
                   │ 2 │ 3 │      │ 2 │ M │       early in red, mid-way in green, late in blue
                   └───┴───┘      └───┴───┘

A plain grid leaves the direction of motion at chance for a small captioner; the motion tile carries it. Training and
captioning go through the same `tile_frames`, so that a captioner sees what it was trained on.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from shards.errors import ClipTooShort

Layout = Literal["single", "grid", "grid_motion"]

NUM_MOTION_FRAMES = 16  # the median needs enough frames for a moving thing to leave most of its places
MIN_FRAMES: dict[Layout, int] = {"single": 1, "grid": 4, "grid_motion": 5}  # 5: first with frames 1, T//2, T-2 distinct
USED_FRAMES: dict[Layout, int] = {"single": 1, "grid": 4, "grid_motion": NUM_MOTION_FRAMES}


def tile_frames(frames_THWC: Sequence[np.ndarray], layout: Layout, tile_px: int) -> np.ndarray:
    """Lay out a clip's frames as one image.

    Args:
        frames_THWC: uint8 RGB frames in time order, evenly spaced over the clip, each (H, W, 3), of one size;
            only those that the layout shows are read.
        layout: see the picture above.
        tile_px: side of one tile; a frame is squeezed into it whole, as BLIP's own preprocessing does.

    Returns:
        uint8 RGB, shape (tile_px, tile_px, 3) for `single`, else (2 * tile_px, 2 * tile_px, 3).

    Raises:
        ClipTooShort: fewer frames than the layout needs (1, 4, 5).
    """
    if len(frames_THWC) < MIN_FRAMES[layout]:
        raise ClipTooShort(
            f"clip has {len(frames_THWC)} model frames; layout {layout} needs {MIN_FRAMES[layout]}; "
            "lower scan.model_frames.interval_s or raise the shortest clip length"
        )
    used = [frames_THWC[index] for index in pick_frames(len(frames_THWC), USED_FRAMES[layout])]
    tiles_THWC = np.stack([_fit(frame_HWC, tile_px) for frame_HWC in used])
    if layout == "single":
        return tiles_THWC[0]
    if layout == "grid":
        return _grid(list(tiles_THWC))
    stills = [tiles_THWC[index] for index in pick_frames(len(tiles_THWC), 3)]
    return _grid([*stills, motion_tile(tiles_THWC)])


def pick_frames(num_available: int, num_wanted: int) -> list[int]:
    """Indices of evenly spaced frames, first and last included; one is the middle; all of them if there are too few.

    Halves are rounded up: 3 of 16 are 0, 8, 15.
    """
    if num_wanted >= num_available:
        return list(range(num_available))
    if num_wanted == 1:
        return [num_available // 2]
    steps = num_wanted - 1
    return [(2 * index * (num_available - 1) + steps) // (2 * steps) for index in range(num_wanted)]


def motion_tile(tiles_THWC: np.ndarray) -> np.ndarray:
    """What differs from the temporal median at frames 1, T // 2 and T - 2, as red, green and blue.

    Args:
        tiles_THWC: uint8, shape (T, H, W, 3), T >= 5.

    Returns:
        uint8, shape (H, W, 3): per moment the largest absolute difference over the colour channels.
    """
    median_HWC = np.median(tiles_THWC, axis=0).astype(np.uint8)
    moments = (1, len(tiles_THWC) // 2, len(tiles_THWC) - 2)
    return np.stack([cv2.absdiff(tiles_THWC[moment], median_HWC).max(axis=2) for moment in moments], axis=2)


def _fit(frame_HWC: np.ndarray, tile_px: int) -> np.ndarray:
    height, width = frame_HWC.shape[:2]
    if (height, width) == (tile_px, tile_px):
        return frame_HWC
    shrinks = height >= tile_px and width >= tile_px
    return cv2.resize(frame_HWC, (tile_px, tile_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _grid(tiles: Sequence[np.ndarray]) -> np.ndarray:
    top_HWC, bottom_HWC = (np.concatenate(row, axis=1) for row in (tiles[:2], tiles[2:]))
    return np.concatenate([top_HWC, bottom_HWC], axis=0)
