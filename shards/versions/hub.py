"""Pushing an export to the Hugging Face Hub: shards first, manifest and card in the last commit.

Names of shards hold a hash of what they are made of, so commits of shards disturb nobody: the card and the manifest on
the Hub go on naming the shards of the version before until the last commit replaces them and removes what they named.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.errors import ConfigError, StoreError
from shards.faults import reached
from shards.storage.store import LocalFolder, Store, open_store
from shards.versions.collect import KINDS
from shards.versions.export import SHARD_BYTES, export
from shards.versions.manifest import LATEST, README, manifest_path, read_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_FILES_PER_COMMIT = 500  # the Hub is slow beyond a thousand


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        commit: of the Hub, the one with the manifest.
        version: of the dataset.
        manifest_sha256: what a trainer pins.
        num_files: files of the version on the Hub.
        size_bytes: of them.
        removed: files of earlier versions that the newest commit no longer has; the Hub's history keeps them.
    """

    commit: str
    version: int
    manifest_sha256: str
    num_files: int
    size_bytes: int
    removed: tuple[str, ...]


def push(
    dataset: str | Path | Store,
    repo_id: str,
    *,
    version: int | None = None,
    revision: str = "main",
    create: bool = False,
    private: bool = True,
    scratch: Path | None = None,
    endpoint: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Pushed:
    """Export a version and make it what a repository of the Hub shows. Pushing again continues or changes nothing.

    The token is found by `huggingface_hub` (HF_TOKEN or `hf auth login`).

    Args:
        dataset: folder, uri or store of the dataset.
        repo_id: `owner/name` of a dataset repository.
        version: number of the version; None for the newest.
        revision: branch.
        create: make the repository if it is not there.
        private: whether a repository that is made is private.
        scratch: existing folder for the export; by default the system's.
        endpoint: of the Hub; by default the public one, or HF_ENDPOINT.
        shard_bytes: largest tar, B.

    Raises:
        ConfigError: huggingface_hub is missing, or there is no such version or repository.
        StoreError: the Hub refused or was not reached, or somebody else pushed meanwhile.
    """
    api = _api(endpoint)
    read_manifest(open_store(dataset), version)  # whatever is missing, say so before the work begins
    try:
        if create:
            api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.dataset_info(repo_id, revision=revision)
    except Exception as error:
        raise _explained(error, repo_id) from error
    reached("push-created")
    with tempfile.TemporaryDirectory(dir=scratch, prefix="reelmill-push-") as folder:
        out = Path(folder) / "export"
        manifest = export(dataset, out, Path(folder), version, shard_bytes)
        files = {item.path: item.size_bytes for item in LocalFolder(out).list()}
        reached("push-exported")
        try:
            commit, removed = _commit(api, repo_id, revision, out, sorted(files), manifest_path(manifest.version))
        except Exception as error:
            raise _explained(error, repo_id) from error
    return Pushed(commit, manifest.version, manifest.sha256(), len(files), sum(files.values()), tuple(removed))


def _commit(
    api: "HfApi", repo_id: str, revision: str, out: Path, files: Sequence[str], manifest: str
) -> tuple[str, list[str]]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    info = api.dataset_info(repo_id, revision=revision)
    remote = [file.rfilename for file in info.siblings or []]
    head, last = info.sha, (manifest, README, LATEST)
    data = [path for path in files if path not in last]

    def commit(operations: list[Any], message: str) -> str:
        done = api.create_commit(
            repo_id, operations, commit_message=message, repo_type="dataset", revision=revision, parent_commit=head
        )
        return done.oid

    for start in range(0, len(data), _FILES_PER_COMMIT):
        batch = data[start : start + _FILES_PER_COMMIT]
        head = commit([CommitOperationAdd(path, out / path) for path in batch], f"Add {len(batch)} files of {manifest}")
        reached("push-data")
    gone = [path for path in remote if path not in files and any(kind.fullmatch(path) for kind in KINDS.values())]
    operations = [
        *(CommitOperationAdd(path, out / path) for path in last),
        *(CommitOperationDelete(path) for path in gone),
    ]
    done = commit(operations, f"Publish {manifest}")
    reached("push-manifest")
    return done, gone


def _api(endpoint: str | None) -> "HfApi":
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ConfigError("huggingface_hub is missing; pushing needs it; pip install 'reelmill[hub]'") from error
    return HfApi(endpoint=endpoint, library_name="reelmill")


def _explained(error: Exception, repo_id: str) -> Exception:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    reason = " ".join(str(error).split())
    if isinstance(error, HFValidationError):
        return ConfigError(f"repository is {repo_id!r}; owner/name is allowed; {reason}")
    if isinstance(error, RepositoryNotFoundError):
        return ConfigError(
            f"repository {repo_id} is not to be found; an existing one that the token may write is needed; "
            f"give --create, or log in with hf auth login"
        )
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code == 412:
        return StoreError(f"repository {repo_id} changed during the push; one pushes at a time; push again")
    return StoreError(f"pushing to {repo_id} failed; {reason}; push again: what is there is not sent twice")
