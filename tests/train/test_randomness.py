import torch

from train.randomness import draw_batch, keyed

SHAPE = (2, 3, 4, 4)


def test_a_sample_draws_the_same_in_any_batch():
    whole = draw_batch(0, 3, [5, 9, 7], SHAPE)
    alone = draw_batch(0, 3, [9], SHAPE)
    for name, value in vars(whole).items():
        assert torch.equal(value[1:2], getattr(alone, name))


def test_seed_epoch_sample_and_stream_all_matter():
    names = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({keyed(*name).random() for name in names}) == 5


def test_streams_of_a_sample_do_not_overlap():
    first, second = (keyed(0, 0, 0, stream).random(10_000) for stream in (0, 1))
    assert not set(first) & set(second)


def test_noise_is_standard_normal():
    white = draw_batch(0, 0, list(range(50)), (4, 8, 8, 8)).white_BTCHW
    assert abs(white.mean().item()) < 0.01
    assert abs(white.std().item() - 1) < 0.01
