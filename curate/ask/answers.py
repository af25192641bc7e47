"""Every rule's answer for every clip, with what was never computed told apart from what cannot be. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.decision.rules import Rule

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


@dataclass(frozen=True)
class RuleSet:
    """Rules of one pipeline.

    Attributes:
        clips: over clips.
        videos: over key frames of whole videos.
    """

    clips: Sequence[Rule]
    videos: Sequence[Rule] = ()

    @property
    def texts(self) -> dict[str, str]:
        """Expression by name."""
        return {rule.name: rule.expression for rule in [*self.videos, *self.clips]}


@dataclass(frozen=True)
class Answers:
    """Every rule over every clip: bool arrays of shape (rules, clips).

    Attributes:
        rules: those over whole videos first.
        false_RN: the rule rejects.
        open_RN: it has no answer since a score was never computed.
        null_RN: it has none since a score cannot be computed.
    """

    rules: Sequence[Rule]
    false_RN: np.ndarray
    open_RN: np.ndarray
    null_RN: np.ndarray

    @classmethod
    def of(cls, rows: pa.Table, videos: pa.Table, rules: RuleSet, missing: Mapping[str, np.ndarray]) -> "Answers":
        """Ask every rule; a rule over a whole video answers for each of its clips."""
        owner = pc.index_in(rows["video_id"], videos["video_id"])
        answers = [rule.evaluate(videos).take(owner.combine_chunks()) for rule in rules.videos]
        answers += [rule.evaluate_scored(rows, missing) for rule in rules.clips]
        shape = len(answers), len(rows)
        false_RN, null_RN, unseen_RN = (np.zeros(shape, bool) for _ in range(3))
        for index, (rule, answer) in enumerate(zip([*rules.videos, *rules.clips], answers, strict=True)):
            false_RN[index] = pc.invert(answer).fill_null(False).to_numpy(zero_copy_only=False)
            null_RN[index] = answer.is_null().to_numpy(zero_copy_only=False)
            for name in rule.columns:
                unseen_RN[index] |= missing.get(name, False)
        return cls([*rules.videos, *rules.clips], false_RN, null_RN & unseen_RN, null_RN & ~unseen_RN)

    @property
    def rejected_N(self) -> np.ndarray:  # noqa: N802
        """A rule is false."""
        return np.any(self.false_RN, axis=0)

    @property
    def unknown_N(self) -> np.ndarray:  # noqa: N802
        """None is false, and one hangs on a score that was never computed."""
        return self.open_RN.any(axis=0) & ~self.rejected_N

    @property
    def failed_N(self) -> np.ndarray:  # noqa: N802
        """None is false and none open, and one has no answer."""
        return self.null_RN.any(axis=0) & ~self.rejected_N & ~self.unknown_N

    @property
    def passed_N(self) -> np.ndarray:  # noqa: N802
        """All are true."""
        return ~(self.rejected_N | self.open_RN.any(axis=0) | self.null_RN.any(axis=0))

    def no_other_rejects(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Clips that all other rules pass, and those that none of them rejects but one has no answer for."""
        others_false_N = np.any(np.delete(self.false_RN, index, axis=0), axis=0)
        others_null_N = np.any(np.delete(self.open_RN | self.null_RN, index, axis=0), axis=0)
        return ~others_false_N & ~others_null_N, ~others_false_N & others_null_N
