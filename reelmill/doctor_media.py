"""Checks of what opens and makes pictures: ffmpeg and its encoders, the safe child, torch and its devices."""

import json
import re
import subprocess
from pathlib import Path

from reelmill.doctor_check import Check, output_of, python_says, version_of

ENCODER_GIVES = {
    "libx264": "H.264 clips (cut.mode encode)",
    "libx265": "HEVC clips",
    "libsvtav1": "AV1 clips",
    "libvpx-vp9": "VP9 clips",
    "h264_nvenc": "H.264 clips on an NVIDIA GPU",
}
NVIDIA_DRIVER = Path("/dev/nvidiactl")


def media_checks() -> list[Check]:
    """ffmpeg and the safe child."""
    return [*_ffmpeg(), _sandbox()]


def _ffmpeg() -> list[Check]:
    import imageio_ffmpeg

    try:
        binary = imageio_ffmpeg.get_ffmpeg_exe()
        banner = output_of([binary, "-hide_banner", "-version"])
        listed = set(re.findall(r"^ V\S+ (\S+)", output_of([binary, "-hide_banner", "-encoders"]), re.MULTILINE))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return [
            Check(
                "media",
                "ffmpeg",
                "problem",
                f"does not run: {error}",
                "pip install imageio-ffmpeg, or set media.ffmpeg",
            )
        ]
    version = re.match(r"ffmpeg version (\S+)", banner)
    found = Check("media", "ffmpeg", "ok", f"{version[1] if version else 'unknown version'} {binary}", "cut and encode")
    return [found, *(_encoder(name, gives, listed) for name, gives in ENCODER_GIVES.items())]


def _encoder(name: str, gives: str, listed: set[str]) -> Check:
    if name not in listed:
        return Check("media", name, "missing", "not in this ffmpeg", gives)
    if name.endswith("_nvenc") and not NVIDIA_DRIVER.exists():
        return Check("media", name, "missing", "in this ffmpeg, but there is no NVIDIA driver", gives)
    return Check("media", name, "ok", "in this ffmpeg", gives)


def _sandbox() -> Check:
    try:
        network = python_says("from shards.isolation.sandbox import leave_network; print(leave_network())")
    except (OSError, subprocess.SubprocessError) as error:
        return Check("media", "media child", "problem", f"does not start: {error}", "no video can be opened")
    if network == "none":
        return Check("media", "media child", "ok", "runs without network", "strangers' files cannot call out")
    return Check(
        "media", "media child", "missing", "the kernel refuses a network namespace",
        "a hijacked decoder could call out: allow user namespaces, or run where there is no network",
    )  # fmt: skip


def device_checks() -> list[Check]:
    """torch and CUDA, asked in a process of its own."""
    if version_of("torch") is None:
        return [Check("devices", "torch", "missing", "not installed", "pip install 'reelmill[models,train]'")]
    try:
        facts = json.loads(python_says(_ASK_TORCH))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return [Check("devices", "torch", "problem", f"does not import: {error}", "pip install torch again")]
    torch = Check("devices", "torch", "ok", f"{facts['torch']}, {facts['threads']} threads")
    if facts["cuda"]:
        return [torch, Check("devices", "CUDA", "ok", ", ".join(facts["cuda"]))]
    return [
        torch,
        Check("devices", "CUDA", "missing", "no device", "models and training at useful size; the demo needs none"),
    ]


_ASK_TORCH = """
import json, torch
cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "cuda": cuda}))
"""
