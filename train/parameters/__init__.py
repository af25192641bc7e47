"""Which parameters train, from which weights they start, and small updates in place of whole matrices (LoRA).

policy.py   names -> factor of the learning rate, or frozen
start.py    weights of an earlier stage, of an image network, or of somebody else's checkpoint
lora.py     W + up down, merged for sampling
"""

from train.parameters.policy import AllParametersConfig, ParametersConfig, choose, trained_names
from train.parameters.start import StartConfig

__all__ = ["AllParametersConfig", "ParametersConfig", "StartConfig", "choose", "trained_names"]
