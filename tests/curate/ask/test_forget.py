"""What is forgotten of hand-made rows."""

from typing import Any

import pyarrow as pa

from curate.ask.forget import dependents, without_scores
from curate.stage import FrameStage
from shards.schema import column
from tests.curate.tables import clip, clips_of


class Model(FrameStage):
    """A stage by name, columns and what it reads."""

    def __init__(self, name: str, reads: tuple[str, ...] = ()) -> None:
        fields = [column(name, pa.float32(), "", "")]
        self.name, self.reads, self.adds = name, reads, pa.schema(fields)  # pyright: ignore[reportAttributeAccessIssue]

    def score_batch(self, batch: Any) -> Any:
        return [{self.name: 0.0} for _ in batch]


EMBED, PRETTY, CAPTION, FIT = Model("embed"), Model("pretty", ("embed",)), Model("caption"), Model("fit", ("pretty",))


def test_what_was_made_of_a_score_goes_with_it():
    stages = [EMBED, PRETTY, CAPTION, FIT]
    assert dependents(stages, "embed") == [EMBED, PRETTY, FIT]
    assert dependents(stages, "pretty") == [PRETTY, FIT]
    assert dependents(stages, "caption") == [CAPTION]


def test_only_the_chosen_clips_lose_the_score_and_its_codes():
    rows = [
        clip("a", 0, 10, embed=1.0, pretty=5.0),
        clip("a", 10, 20, pretty=6.0, error="embed:broken;motion:clip_too_short", not_scored="fit"),
        clip("a", 20, 30, error="embed:broken"),
    ]
    table = clips_of(*rows, extra=[*EMBED.adds, *PRETTY.adds])
    after = without_scores(table, EMBED, [rows[1]["clip_id"], "elsewhere"])
    assert after.schema == table.schema
    assert after["not_scored"].to_pylist() == [None, "fit;embed", None]
    assert after["error"].to_pylist() == [None, "motion:clip_too_short", "embed:broken"]
    assert after["embed"].to_pylist() == [1.0, None, None]
    assert after["pretty"].to_pylist() == [5.0, 6.0, None]
    assert without_scores(table, PRETTY, []).equals(table)
