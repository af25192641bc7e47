"""What a run will cost and keep, from a real run over a sample of its inputs in a folder of its own."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.ask.estimate import interval, rest_totals
from curate.ask.measured import Measured, as_array, measure
from curate.ask.sampling import Header, choose, sample_size
from curate.config import CurateConfig
from curate.inputs.ingest import expand_inputs
from curate.inputs.states import remote_states
from curate.inputs.uris import is_remote, local_path, name_of
from curate.media.child import MediaChild
from curate.pipeline import Pipeline
from curate.run import Progress, curate_rows
from curate.rundir import RunDir
from shards.errors import ConfigError, MediaError
from shards.schema import strings

log = logging.getLogger(__name__)

# What each measure grows with, besides the number of videos: decoding with pixels, models with time, copies with bytes.
_GROWS_WITH = {"media_cpu_s": "pixels", "dataset_bytes": "size_bytes"}


@dataclass(frozen=True)
class Estimate:
    """A sum over all inputs.

    Attributes:
        sample: measured over the videos that were tried.
        rest, rest_low, rest_high: over the others; the interval holds their real sum with the forecast's probability.
    """

    sample: float
    rest: float
    rest_low: float
    rest_high: float

    @property
    def all(self) -> tuple[float, float, float]:
        """Estimate, low and high over all inputs."""
        return self.sample + self.rest, self.sample + self.rest_low, self.sample + self.rest_high


@dataclass(frozen=True)
class Forecast:
    """What to expect of a configuration on these inputs.

    Attributes:
        num_videos: inputs that can be opened; num_unreadable: those that cannot, counted as costing nothing.
        sampled: uris that were tried.
        strata: name -> videos and tried videos.
        seed, percent: of the sample and of the intervals.
        totals: by name of `Measured`.
        kept_share: of the input's seconds: estimate, low, high, over all inputs.
        on_gpu: whether the models ran on a GPU, None if there are none.
        problems: of the sample's run.
    """

    num_videos: int
    num_unreadable: int
    sampled: Sequence[str]
    strata: dict[str, tuple[int, int]]
    seed: int
    percent: float
    totals: dict[str, Estimate]
    kept_share: tuple[float, float, float]
    on_gpu: bool | None
    problems: Sequence[str]


def forecast(
    config: CurateConfig, inputs: Sequence[str], sample: str, seed: int, percent: float, progress: Progress
) -> Forecast:
    """Open every input's header, run a sample for real in a scratch folder, and estimate the rest.

    Args:
        config: of the run to foresee.
        inputs: as for a run.
        sample: `1%` or a number of videos.
        seed: of sample and bootstrap.
        percent: probability of the intervals, 0 to 100.
        progress: told of the sample's run.

    Raises:
        ConfigError: as a run; or fewer than two inputs can be opened.
    """
    rows = expand_inputs(inputs, config.ingest)
    with tempfile.TemporaryDirectory(prefix="reelmill-forecast-") as scratch:
        headers = read_headers(rows, config, Path(scratch))
        if len(headers) < 2:
            raise ConfigError(f"inputs that can be opened are {len(headers)} of {len(rows)}; 2 are needed; name more")
        strata = choose(headers, sample_size(sample, len(headers)), seed)
        tried = sorted(number for stratum in strata for number in stratum.sample)
        uris = [headers[number].uri for number in tried]
        own = one_video_per_part(config)
        wanted = rows.filter(pc.is_in(rows["uri"], pa.array(uris, pa.string())))
        result = curate_rows(own, wanted, Path(scratch) / "run", progress)
        found = measure(result.run_dir.root, Pipeline.of(own))
    items = [found.get(header.uri, Measured()) for header in headers]
    values_MN, sizes_MN = as_array(items), _sizes(headers)
    names = [item.name for item in fields(Measured)]
    totals = rest_totals(values_MN, sizes_MN, strata, seed)
    sampled_M = values_MN[:, tried].sum(axis=1)
    estimates = {
        name: Estimate(float(sampled_M[row]), float(totals.point_M[row]), *interval(totals.draw_MB[row], percent))
        for row, name in enumerate(names)
    }
    kept, length = names.index("kept_s"), names.index("input_s")
    share_B = np.minimum(1, (sampled_M[kept] + totals.draw_MB[kept]) / (sampled_M[length] + totals.draw_MB[length]))
    point = estimates["kept_s"].all[0] / (estimates["input_s"].all[0] or 1)
    return Forecast(
        num_videos=len(headers),
        num_unreadable=len(rows) - len(headers),
        sampled=uris,
        strata={item.name: (len(item.members), len(item.sample)) for item in strata},
        seed=seed,
        percent=percent,
        totals=estimates,
        kept_share=(point, *interval(share_B, percent)),
        on_gpu=_on_gpu(config),
        problems=result.problems,
    )


def one_video_per_part(config: CurateConfig) -> CurateConfig:
    """The configuration with one video per part on this machine, so that each video's costs stand alone."""
    return config.model_copy(update={"run": config.run.model_copy(update={"part_videos": 1, "executor": "local"})})


def read_headers(rows: pa.Table, config: CurateConfig, scratch: Path) -> list[Header]:
    """Headers of all inputs that can be opened, by uri; a length that a header does not tell is guessed by size."""
    told = []
    uris = strings(rows.filter(pc.is_null(rows["status"])), "uri")
    remote = [uri for uri in uris if is_remote(uri)]
    states = remote_states(remote, RunDir(scratch), config.ingest.private_hosts)
    with MediaChild(config.media, scratch) as child:
        for uri in (uri for uri in uris if not is_remote(uri)):
            path = local_path(uri)
            try:
                told.append((uri, path.stat().st_size, child.call("header", path=str(path))))
            except (MediaError, OSError) as error:
                log.info("%r is not forecast: %s", uri, error)
    rates = [facts["duration_s"] / size for _, size, facts in told if facts["duration_s"]]
    s_per_byte = median(rates) if rates else 1e-6
    opened = [
        Header(uri, size, facts["codec"], facts["width"], facts["height"], facts["duration_s"] or size * s_per_byte)
        for uri, size, facts in told
    ]
    # Of a remote input only the size is known unread: it has strata of its own, in which everything grows with bytes.
    sizes = {uri: state.size_bytes for uri, state in states.items() if state}
    unread = [Header(uri, size, f"remote{name_of(uri).suffix}", 1, 1, size * s_per_byte) for uri, size in sizes.items()]
    return sorted([*opened, *unread], key=lambda header: header.uri)


def _sizes(headers: Sequence[Header]) -> np.ndarray:
    """What each measure grows with, of every video, shape (measures, videos)."""
    known = {
        "pixels": [item.duration_s * item.width * item.height for item in headers],
        "size_bytes": [float(item.size_bytes) for item in headers],
        "duration_s": [item.duration_s for item in headers],
    }
    return np.array([known[_GROWS_WITH.get(item.name, "duration_s")] for item in fields(Measured)])


def _on_gpu(config: CurateConfig) -> bool | None:
    if not (config.embed or config.caption.model):
        return None
    import torch

    return torch.cuda.is_available()
