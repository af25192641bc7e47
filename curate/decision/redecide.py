"""Rules applied late: what a finished run's catalog says under the same or other rules, without opening a video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.decision.decide import RuleStats, decide, rule_stats
from curate.decision.ledger import seconds
from curate.decision.rules import Rule
from curate.decision.unscored import columns_not_scored
from curate.pack import CUT_CODE, mark_failed
from curate.pipeline import Pipeline
from shards.errors import ConfigError
from shards.schema import SEGMENT_CLIP, STATUS_KEPT, STATUS_UNSCORED, strings

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


@dataclass(frozen=True)
class Redecision:
    """Decisions before and after, side by side.

    Attributes:
        clips: the catalog's rows with the new decision.
        gained, lost: ids of clips that are kept only now, and only before.
        unscored: ids of clips that no rule drops any more and that lack scores; a run computes them, and decides.
    """

    clips: pa.Table
    rules: Sequence[RuleStats]
    kept_before: int
    gained: Sequence[str]
    lost: Sequence[str]
    unscored: Sequence[str] = ()

    def describe(self) -> str:
        """The funnel per rule and what a rerun would change, as text."""
        kept = self.kept_before + len(self.gained) - len(self.lost)
        lines = [f"{'rule':<24} {'seen':>8} {'removed':>8} {'seconds':>10} {'alone':>8}"]
        lines += [
            f"{rule.name:<24} {rule.seen:>8} {rule.removed:>8} {float(rule.removed_s):>10.1f} {rule.removed_alone:>8}"
            for rule in self.rules
        ]
        total = pc.sum(pc.equal(self.clips["segment"], SEGMENT_CLIP)).as_py() or 0
        kept_s = float(seconds(self.clips.filter(pc.equal(self.clips["status"], STATUS_KEPT))))
        lines.append(f"kept {kept} of {total} clips, {kept_s:.1f} s; before {self.kept_before}")
        lines.append(f"gained {len(self.gained)}, lost {len(self.lost)}")
        if self.unscored:
            open_clips = self.clips.filter(pc.equal(self.clips["status"], STATUS_UNSCORED))
            names = ", ".join(columns_not_scored(open_clips))
            lines.append(f"undecided {len(self.unscored)}: without {names}; `curate run` scores these and no others")
        return "\n".join(lines)


def redecide(before: pa.Table, videos: pa.Table, rules: Sequence[Rule]) -> Redecision:
    """Decide a catalog's clips under other rules.

    Args:
        before: rows of the catalog with their decisions and every column that the rules read.
        videos: rows of VIDEO.
        rules: as `Pipeline.clip_rules`.
    """
    after = decide_again(before, videos, rules)
    kept_before, kept_after = (pc.equal(clips["status"], STATUS_KEPT) for clips in (before, after))
    return Redecision(
        after,
        rule_stats(after, rules),
        pc.sum(kept_before).as_py() or 0,
        _ids(after, pc.and_not(kept_after, kept_before)),
        _ids(after, pc.and_not(kept_before, kept_after)),
        _ids(after, pc.equal(after["status"], STATUS_UNSCORED)),
    )


def cut_failed(clips: pa.Table) -> pa.ChunkedArray:
    """For each row whether a run could not cut the clip; `error` says so whatever rule drops it since."""
    return pc.match_substring_regex(pc.fill_null(clips["error"], ""), f"(^|;){CUT_CODE}")


def check_video_rules(now: Pipeline, then: Pipeline) -> None:
    """A rule over key frames decides before the scan; what it stopped has no clips that could be judged again.

    Raises:
        ConfigError: such a rule is another one now.
    """
    changed = {rule.name for rule in now.video_rules} ^ {rule.name for rule in then.video_rules}
    texts = {rule.name: rule.expression for rule in then.video_rules}
    changed |= {rule.name for rule in now.video_rules if texts.get(rule.name, rule.expression) != rule.expression}
    if changed:
        raise ConfigError(
            f"rules {sorted(changed)} read key frames, before the scan; run `reelmill curate run` with them"
        )


def decide_again(before: pa.Table, videos: pa.Table, rules: Sequence[Rule]) -> pa.Table:
    """Decided rows under other rules; clips that could not be cut then cannot be cut now."""
    after = decide(before, videos, rules)
    uncut = before.filter(pc.and_(cut_failed(before), pc.equal(after["status"], STATUS_KEPT)))
    codes = [next(filter(_is_cut, cell.split(";"))) for cell in strings(uncut, "error")]
    return mark_failed(after, dict(zip(strings(uncut, "clip_id"), codes, strict=True)))


def _is_cut(code: str) -> bool:
    return code.startswith(CUT_CODE)


def _ids(clips: pa.Table, mask: pa.ChunkedArray) -> list[str]:
    return sorted(strings(clips.filter(mask), "clip_id"))
