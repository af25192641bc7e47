"""A media child that gives a file a second chance and no third: one crash may be the machine's fault, two are not."""

from collections import Counter
from pathlib import Path
from typing import Any

from curate.media.child import MediaChild, MediaConfig
from shards.errors import MediaError

TRIES = 2
FATAL = ("child_killed", "cpu_limit", "deadline", "out_of_memory")  # the child ended, or had to be ended


class TwiceChild(MediaChild):
    """As MediaChild; a call that ends the child is made once more in a fresh one, and a file ends two at most.

    The deaths of a file count over all calls, so that one that kills every scan or every cut costs two deadlines and
    not two for each of its clips.
    """

    def __init__(self, config: MediaConfig, scratch: Path) -> None:
        super().__init__(config, scratch)
        self._deaths: Counter[str] = Counter()
        self._last: dict[str, MediaError] = {}

    def call(self, op: str, deadline_s: float | None = None, **json_arguments: Any) -> dict[str, Any]:
        """See MediaChild; the error of a file that is given up says what the child's last words were."""
        file = str(json_arguments.get("path") or json_arguments.get("source"))
        while self._deaths[file] < TRIES:
            try:
                return super().call(op, deadline_s, **json_arguments)
            except MediaError as error:
                if error.code not in FATAL:
                    raise
                self._deaths[file] += 1
                self._last[file] = error
        last = self._last[file]
        raise MediaError(f"{last}; tried {TRIES} times", last.code)
