import pytest
import torch

from shards.errors import ConfigError, ContractError
from train.conditions.text import caption_words, drop_text
from train.models.text import Vocabulary, WordsConfig, split_words

CAPTIONS = ["A red circle moves left.", "a red square moves up"]


def test_words_are_lower_case_without_punctuation():
    assert split_words("A cat's well-known, “Red” ball!") == ["a", "cat's", "well-known", "red", "ball"]


def test_the_vocabulary_ranks_by_count_then_alphabet_whatever_the_order():
    expected = ["a", "moves", "red", "circle", "left", "square", "up"]
    assert Vocabulary.of(CAPTIONS, WordsConfig()).words == expected
    assert Vocabulary.of(reversed(CAPTIONS), WordsConfig()).words == expected


def test_rare_words_beyond_the_limit_become_unknown():
    vocabulary = Vocabulary.of(CAPTIONS, WordsConfig(max_vocabulary=5))
    assert vocabulary.encode(["a red circle"], 4).tolist() == [[2, 4, 1, 0]]
    assert vocabulary.unknown("a red circle") == ["circle"]


def test_long_captions_are_cut_off():
    assert Vocabulary(["a"]).encode(["a a a a"], 2).tolist() == [[2, 2]]


def test_captions_without_words_are_refused():
    with pytest.raises(ConfigError, match="captions hold 0 words"):
        Vocabulary.of(["…"], WordsConfig())


def test_a_clip_without_caption_is_a_broken_promise():
    with pytest.raises(ContractError, match=r"clip7.*require_caption"):
        caption_words(Vocabulary(["a"]), ["a", None], ["clip6", "clip7"], 3)


def test_text_is_dropped_in_its_share_of_clips():
    words = torch.full((10_000, 2), 5)
    uniform = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    dropped = (drop_text(words, uniform < 0.1) == 0).all(dim=1)
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(dropped, uniform < 0.1)


def test_states_of_a_frozen_encoder_are_dropped_by_row_too():
    states_BLD = torch.ones(2, 3, 4)
    assert drop_text(states_BLD, torch.tensor([True, False])).sum(dim=(1, 2)).tolist() == [0, 12]
