import pytest

from curate.ask.sampling import Header, choose, sample_size
from shards.errors import ConfigError


def header(number: int, codec: str = "h264", height: int = 720, duration_s: float = 30.0) -> Header:
    return Header(f"/videos/{number:04d}.mp4", 1000, codec, height * 16 // 9, height, duration_s)


@pytest.mark.parametrize(
    ("text", "number", "expected"), [("1%", 1000, 10), ("1%", 950, 10), ("1%", 10, 2), ("7", 100, 7), ("100%", 5, 5)]
)
def test_a_sample_is_a_share_rounded_up_or_a_number_and_never_one(text: str, number: int, expected: int):
    assert sample_size(text, number) == expected


@pytest.mark.parametrize("text", ["", "0%", "101%", "-3", "nan", "many"])
def test_a_sample_that_is_neither_is_refused(text: str):
    with pytest.raises(ConfigError, match="a share such as 1%"):
        sample_size(text, 100)


def test_each_stratum_gives_in_proportion_and_small_ones_are_joined():
    headers = [header(number) for number in range(60)]
    headers += [header(number, "vp9") for number in range(60, 96)]
    headers += [header(96, "mpeg4"), header(97, "av1"), header(98, duration_s=5), header(99, height=1080)]
    strata = choose(headers, 10, seed=0)
    sizes = {stratum.name: (len(stratum.members), len(stratum.sample)) for stratum in strata}
    assert sizes == {"h264/2/1": (60, 6), "vp9/2/1": (36, 4), "others": (4, 2)}
    assert sorted(number for stratum in strata for number in stratum.members) == list(range(100))
    assert all(set(stratum.sample) <= set(stratum.members) for stratum in strata)


def test_short_and_long_videos_are_both_tried():
    """Twenty lengths between 12 and 58 s in random order: one of each quarter."""
    headers = [header(number, duration_s=12 + (number * 7) % 20 * 2.4) for number in range(20)]
    (stratum,) = choose(headers, 4, seed=3)
    quarters = sorted(int((headers[number].duration_s - 12) / 12) for number in stratum.sample)
    assert quarters == [0, 1, 2, 3]


def test_the_sample_depends_on_the_seed_alone():
    headers = [header(number, duration_s=10 + number % 50) for number in range(400)]
    assert choose(headers, 20, seed=1) == choose(headers, 20, seed=1)
    assert choose(headers, 20, seed=1) != choose(headers, 20, seed=2)
