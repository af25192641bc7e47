"""What a file says of itself before any packet is read: for forecasts, never for data. Runs in the media child."""

from pathlib import Path
from typing import Any

from curate.media.opening import media_errors, open_video
from curate.media.probe import choose_stream


def header_op(path: str) -> dict[str, Any]:
    """Open a file and read its header.

    Args:
        path: a local file.

    Returns:
        `codec`, `width`, `height` of the chosen stream; `duration_s` as the header claims it, None if it does not.

    Raises:
        MediaError: what opening and choosing a stream raise.
    """
    with open_video(Path(path), decode_head=False) as container, media_errors(path):
        stream = choose_stream(container)
        context = stream.codec_context
        told = (
            float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None,
            container.duration / 1_000_000 if container.duration else None,
        )
        duration_s = next((value for value in told if value is not None and value > 0), None)
        return {"codec": context.name, "width": context.width, "height": context.height, "duration_s": duration_s}
