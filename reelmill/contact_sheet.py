"""A contact sheet: generated frames as film strips beside their prompts, with what an oracle read in them.

Legend: B = samples, T = frames, H, W = pixels, C = RGB.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FRAMES_PER_ROW = 8
FRAME_PX = 80  # target height of a frame; small samples grow by a whole factor so that pixels stay pixels
PROMPT_PX, VERDICT_PX, GAP_PX, MARGIN_PX = 190, 92, 10, 28
HOLE_PX, EDGE_PX, HEADING_PX = 5, 13, 44
TWO_COLUMNS_FROM = 9

PAPER, INK, SOFT = (250, 248, 244), (29, 27, 24), (109, 103, 94)
FILM, HOLE = (33, 31, 28), (214, 205, 190)
RIGHT, WRONG = (23, 128, 126), (196, 72, 64)


@dataclass(frozen=True)
class _Row:
    frames_THWC: np.ndarray
    prompt: str
    verdict: Mapping[str, bool]


def contact_sheet(
    videos_BTHWC: np.ndarray,
    prompts: Sequence[str],
    verdicts: Sequence[Mapping[str, bool]] | None,
    path: Path,
    groups: Sequence[str] | None = None,
) -> Path:
    """Write a PNG with one film strip per sample; returns its path.

    Args:
        videos_BTHWC: uint8 RGB samples.
        prompts: text of each sample.
        verdicts: per sample, what was asked for (`colour`, `kind`, …) and whether an oracle read it; None without one.
        path: where to write.
        groups: heading of each sample; samples of one heading stand together, in order of first appearance.

    Raises:
        ValueError: the numbers of samples, prompts, verdicts and groups differ, or there is no sample.
    """
    count = len(videos_BTHWC)
    lengths = {"prompts": prompts, "verdicts": verdicts, "groups": groups}
    for name, items in lengths.items():
        if items is not None and len(items) != count:
            raise ValueError(f"{name} are {len(items)}; {count} are expected, one per sample; give as many")
    if not count:
        raise ValueError("samples are 0; at least 1 is needed for a sheet; give some")
    rows = [
        _Row(_grown(_spread(video_THWC)), prompt, verdict)
        for video_THWC, prompt, verdict in zip(videos_BTHWC, prompts, verdicts or [{}] * count, strict=True)
    ]
    _draw(_grouped(rows, groups or [""] * count)).save(path, optimize=True)
    return path


def _grouped(rows: Sequence[_Row], groups: Sequence[str]) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    for row, group in zip(rows, groups, strict=True):
        found.setdefault(group, []).append(row)
    return found


def _spread(video_THWC: np.ndarray) -> np.ndarray:
    """At most `FRAMES_PER_ROW` frames, evenly from first to last."""
    places = np.linspace(0, len(video_THWC) - 1, min(FRAMES_PER_ROW, len(video_THWC))).round().astype(int)
    return video_THWC[places]


def _grown(frames_THWC: np.ndarray) -> np.ndarray:
    """Frames about `FRAME_PX` high: small ones by a whole factor and nearest pixel, large ones shrunk by Lanczos."""
    height, width = frames_THWC.shape[1:3]
    if height <= FRAME_PX:
        factor = max(1, round(FRAME_PX / height))
        return frames_THWC.repeat(factor, axis=1).repeat(factor, axis=2)
    size = (max(1, round(width * FRAME_PX / height)), FRAME_PX)
    lanczos = Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(frame_HWC).resize(size, lanczos)) for frame_HWC in frames_THWC])


def _draw(groups: Mapping[str, Sequence[_Row]]) -> Image.Image:
    rows = [row for members in groups.values() for row in members]
    columns = 2 if len(rows) >= TWO_COLUMNS_FROM else 1
    strip_px = max(row.frames_THWC.shape[0] * (row.frames_THWC.shape[2] + 3) + 5 for row in rows)
    row_px = max(row.frames_THWC.shape[1] for row in rows) + 2 * EDGE_PX
    cell_px = PROMPT_PX + strip_px + (VERDICT_PX if any(row.verdict for row in rows) else 0) + 2 * GAP_PX
    places, height = _places(groups, columns, row_px + GAP_PX)
    sheet = Image.new("RGB", (2 * MARGIN_PX + columns * cell_px + (columns - 1) * MARGIN_PX, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, y, item in places:
        x = MARGIN_PX + column * (cell_px + MARGIN_PX)
        if isinstance(item, str):
            pen.text((x, y + 12), item, fill=INK, font=_font(20))
        else:
            _draw_row(sheet, pen, item, x, y)
    return sheet


def _places(
    groups: Mapping[str, Sequence[_Row]], columns: int, row_px: int
) -> tuple[list[tuple[int, int, str | _Row]], int]:
    """Column and top of every heading and row, and the sheet's height."""
    places: list[tuple[int, int, str | _Row]] = []
    y = MARGIN_PX
    for heading, rows in groups.items():
        if heading:
            places.append((0, y, heading))
            y += HEADING_PX
        places += [(index % columns, y + index // columns * row_px, row) for index, row in enumerate(rows)]
        y += -(-len(rows) // columns) * row_px + GAP_PX
    return places, y + MARGIN_PX - GAP_PX


def _draw_row(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: _Row, x: int, y: int) -> None:
    num_frames, height, width = row.frames_THWC.shape[:3]
    strip_px, row_px = num_frames * (width + 3) + 5, height + 2 * EDGE_PX
    lines = list(_wrapped(row.prompt, _font(15), PROMPT_PX - 8))[: row_px // 19]
    top = y + (row_px - 19 * len(lines)) // 2
    for index, line in enumerate(lines):
        pen.text((x, top + 19 * index), line, fill=INK, font=_font(15))
    left = x + PROMPT_PX + GAP_PX
    pen.rounded_rectangle((left, y, left + strip_px, y + row_px), radius=6, fill=FILM)
    for hole in range(left + 6, left + strip_px - 8, 13):
        for edge in (y + 4, y + row_px - 4 - HOLE_PX):
            pen.rounded_rectangle((hole, edge, hole + 6, edge + HOLE_PX), radius=1, fill=HOLE)
    for index, frame_HWC in enumerate(row.frames_THWC):
        sheet.paste(Image.fromarray(frame_HWC), (left + 4 + index * (width + 3), y + EDGE_PX))
    _draw_verdict(pen, row.verdict, left + strip_px + GAP_PX, y, row_px)


def _draw_verdict(pen: ImageDraw.ImageDraw, verdict: Mapping[str, bool], x: int, y: int, row_px: int) -> None:
    top = y + (row_px - 22 * len(verdict)) // 2
    for index, (name, is_right) in enumerate(verdict.items()):
        middle = top + 22 * index + 10
        if is_right:
            pen.ellipse((x, middle - 5, x + 10, middle + 5), fill=RIGHT)
        else:  # a cross, so that the verdict does not hang on colour alone
            pen.line((x + 1, middle - 4, x + 9, middle + 4), fill=WRONG, width=3)
            pen.line((x + 1, middle + 4, x + 9, middle - 4), fill=WRONG, width=3)
        pen.text((x + 17, middle), name, fill=SOFT, font=_font(14), anchor="lm")


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width_px:
            yield line
            longer = word
        line = longer
    if line:
        yield line


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
