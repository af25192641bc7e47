"""What remote inputs are when a run is planned: a source that changed since the last run is another input."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from curate.inputs.remote import RemoteState, open_input
from curate.inputs.staging import UNREACHABLE, ask
from curate.rundir import RunDir, write_table
from shards.errors import MediaError
from shards.storage.remote import RemoteConfig

_AT_ONCE = 32  # requests under way
_RETRIES = 2  # a source that stays away now may answer when its turn comes
_SCHEMA = pa.schema([("uri", pa.string()), ("size_bytes", pa.int64()), ("etag", pa.string()), ("changed", pa.string())])


def remote_states(uris: Sequence[str], run_dir: RunDir, private_hosts: bool) -> dict[str, RemoteState | None]:
    """State of each remote input, None where there is none to be had.

    A source that cannot be reached now counts as unchanged since the last run: without a network, what was done stays.
    """
    if not uris:
        return {}
    path = run_dir.root / "parts" / "remote.parquet"
    known = {row.pop("uri"): RemoteState(**row) for row in pq.read_table(path).to_pylist()} if path.is_file() else {}
    patience = RemoteConfig.from_environment()
    patience = patience.model_copy(update={"max_retries": min(patience.max_retries, _RETRIES)})
    ask_one = partial(_state, known=known, patience=patience, private_hosts=private_hosts)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        states = dict(zip(uris, pool.map(ask_one, uris), strict=True))
    rows = [{"uri": uri, **asdict(state)} for uri, state in states.items() if state]
    write_table(path, pa.Table.from_pylist(rows, schema=_SCHEMA))
    return states


def _state(uri: str, known: dict[str, RemoteState], patience: RemoteConfig, private_hosts: bool) -> RemoteState | None:
    try:
        return ask(open_input(uri, patience, private_hosts), patience)
    except MediaError as error:
        return known.get(uri) if error.code == UNREACHABLE else None
