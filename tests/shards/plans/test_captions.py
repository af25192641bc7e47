from collections import Counter

import numpy as np

from shards.plans.captions import choose_caption
from shards.plans.plan import philox


def chosen(texts: list[str | None], weights: list[float], count: int = 400) -> Counter[str | None]:
    generators = (np.random.Generator(philox("caption", 0, epoch, 7)) for epoch in range(count))
    return Counter(choose_caption(texts, weights, generator) for generator in generators)


def test_captions_are_chosen_in_proportion_to_their_weights():
    found = chosen(["long", "short"], [3, 1])
    assert 265 < found["long"] < 335  # 300 expected, deviation 8.7
    assert sum(found.values()) == 400


def test_a_missing_caption_leaves_its_chance_to_the_others():
    assert chosen(["long", None], [1, 99], 20) == {"long": 20}
    assert set(chosen([None, "b", "c"], [1, 1, 1])) == {"b", "c"}


def test_no_caption_is_none():
    assert choose_caption([None, None], [1, 1], np.random.default_rng(0)) is None
