import pytest

from reelmill.embedding import embed_dataset
from shards.config import parse_config
from shards.errors import ConfigError
from train.config import TrainConfig


@pytest.mark.parametrize("kind", ["autoencoder", "video_autoencoder"])
def test_a_codec_that_was_not_trained_embeds_nothing(kind, tmp_path):
    data = {"uri": str(tmp_path / "none"), "view": {"start": "begin"}}
    config = parse_config(TrainConfig, {"data": data, "codec": {"kind": kind}})
    with pytest.raises(ConfigError, match=f"codec.kind is {kind}, whose weights are learned; trained ones are needed"):
        embed_dataset(config, None, str(tmp_path / "latents"))


def test_no_dataset_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--set data\.uri=DIR"):
        embed_dataset(TrainConfig(), None, str(tmp_path / "latents"))
