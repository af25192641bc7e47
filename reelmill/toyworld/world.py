"""What can be said in the toy world, and which combinations are held out of its raw videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple, get_args

from shards.errors import ConfigError


class Rgb(NamedTuple):
    """A colour, 0 to 255 each."""

    red: int
    green: int
    blue: int


class Step(NamedTuple):
    """A direction in the picture: x to the right, y downwards, length 1."""

    x: float
    y: float


COLOURS: Mapping[str, Rgb] = {
    "red": Rgb(225, 35, 35),
    "yellow": Rgb(230, 220, 30),
    "green": Rgb(30, 190, 50),
    "cyan": Rgb(25, 205, 215),
    "blue": Rgb(35, 60, 230),
    "magenta": Rgb(220, 40, 205),
}
KINDS = ("circle", "square", "triangle", "star")
DIRECTIONS: Mapping[str, Step] = {"left": Step(-1, 0), "right": Step(1, 0), "up": Step(0, -1), "down": Step(0, 1)}

HELD_PAIR = ("red", "star")

Split = Literal["all", "train", "held_triple", "held_pair"]


@dataclass(frozen=True, order=True)
class Combination:
    """What a shot shows, and so what its caption says."""

    colour: str
    kind: str
    direction: str

    @property
    def caption(self) -> str:
        """The sentence of this combination."""
        return f"a {self.colour} {self.kind} moves {self.direction}"

    @property
    def still_caption(self) -> str:
        """The sentence of a still, whose direction does not show."""
        return f"a {self.colour} {self.kind} stands still"

    @property
    def split(self) -> Split:
        """`train`, or why raw videos do not show it: its colour and kind never meet, or it is a held-out triple."""
        if (self.colour, self.kind) == HELD_PAIR:
            return "held_pair"
        return "held_triple" if self in _HELD_TRIPLES else "train"


def parse_caption(caption: str) -> Combination | None:
    """The combination that a caption names; None if it is no sentence of this world."""
    match caption.strip().lower().rstrip(".").split():
        case ["a", colour, kind, "moves", direction] if colour in COLOURS and kind in KINDS and direction in DIRECTIONS:
            return Combination(colour, kind, direction)
    return None


def combinations(split: Split = "all") -> tuple[Combination, ...]:
    """All combinations of a split, in a fixed order: 80 of 96 are `train`, 12 `held_triple`, 4 `held_pair`."""
    if split not in get_args(Split):
        raise ConfigError(f"split is {split!r}; {', '.join(get_args(Split))} are allowed; name one of them")
    return tuple(combination for combination in _ALL if split in ("all", combination.split))


def _held_triples() -> frozenset[Combination]:
    """One direction of every second pair, turned so that no direction goes with a colour or a kind.

    Each kind lends 3 triples, each colour 2, each direction 3, and every pair but the held one keeps 3 directions.
    """
    pairs = [
        (colour, kind)
        for (row, colour), (col, kind) in product(enumerate(COLOURS), enumerate(KINDS))
        if (row + col) % 2 == 0
    ]
    names = list(DIRECTIONS)
    return frozenset(
        Combination(colour, kind, names[(index + index // 4) % len(names)])
        for index, (colour, kind) in enumerate(pairs)
    )


_ALL = tuple(Combination(*words) for words in product(COLOURS, KINDS, DIRECTIONS))
_HELD_TRIPLES = _held_triples()
