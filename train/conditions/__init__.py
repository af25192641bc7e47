"""Conditions: what a denoiser is told besides the noisy latent. Each has a `drop`; frames and scores have a `perturb`.

| condition | from                | enters as                         | not told            |
| --------- | ------------------- | --------------------------------- | ------------------- |
| text      | caption             | words, or text x time             | the empty text      |
| class     | column of the index | vector                            | class 0             |
| scores    | columns             | vector, by place in [low, high]   | a learned vector    |
| frames    | the clip itself     | replaced or beside, mask, level s | mask 0              |
"""

from train.conditions.config import Condition, ConditionsConfig
from train.conditions.text import TextConditionConfig

__all__ = ["Condition", "ConditionsConfig", "TextConditionConfig"]
