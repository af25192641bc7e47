from collections import Counter

import pytest

from reelmill.toyworld.world import COLOURS, DIRECTIONS, KINDS, Combination, combinations, parse_caption
from shards.errors import ConfigError


def test_splits_partition_the_96_combinations():
    splits = [set(combinations(split)) for split in ("train", "held_triple", "held_pair")]
    assert [len(split) for split in splits] == [80, 12, 4]
    assert set.union(*splits) == set(combinations()) == set(combinations("all"))
    assert sum(len(split) for split in splits) == len(COLOURS) * len(KINDS) * len(DIRECTIONS) == 96


def test_the_held_pair_is_never_shown_and_every_other_pair_keeps_three_directions():
    shown = Counter((combination.colour, combination.kind) for combination in combinations("train"))
    assert ("red", "star") not in shown
    assert len(shown) == 23
    assert set(shown.values()) == {3, 4}


def test_held_triples_are_spread_evenly_over_colours_kinds_and_directions():
    held = combinations("held_triple")
    assert Counter(triple.colour for triple in held) == dict.fromkeys(COLOURS, 2)
    assert Counter(triple.kind for triple in held) == dict.fromkeys(KINDS, 3)
    assert Counter(triple.direction for triple in held) == dict.fromkeys(DIRECTIONS, 3)
    assert max(Counter((triple.kind, triple.direction) for triple in held).values()) == 1


def test_captions_say_the_combination_and_are_read_back():
    assert Combination("red", "circle", "left").caption == "a red circle moves left"
    assert all(parse_caption(combination.caption) == combination for combination in combinations())
    assert all(combination.split == "held_pair" for combination in combinations("held_pair"))


@pytest.mark.parametrize(
    "text", ["", "a red circle stands still", "a pink circle moves left", "a red circle moves left fast"]
)
def test_other_sentences_name_no_combination(text: str):
    assert parse_caption(text) is None


def test_an_unknown_split_names_the_allowed_ones():
    with pytest.raises(ConfigError, match="held_triple"):
        combinations("test")  # type: ignore[arg-type]
