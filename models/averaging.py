"""Several boosters as one: LightGBM's own text with the trees of all and their outputs divided by how many there are.

The raw score of the result is the mean of theirs, so it is loaded, explained and served like any other booster.
"""

import re
from typing import Final

_TREE: Final = re.compile(r"^Tree=\d+\n.*?\n\n\n", re.MULTILINE | re.DOTALL)
_SIZES: Final = re.compile(r"^tree_sizes=.*$", re.MULTILINE)
_OUTPUTS: Final = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)


def average(texts: list[str]) -> str:
    """Return one booster's text whose raw score is the mean of those of `texts`.

    Args:
        texts: at least one, of boosters with the same features and objective.

    Raises:
        ValueError: a text has no tree, or is not laid out as this version of LightGBM does it.
    """
    if len(texts) == 1:
        return texts[0]
    trees = [tree for text in texts for tree in _trees(text)]
    scaled = [_scaled(tree, number, len(texts)) for number, tree in enumerate(trees)]
    sizes = "tree_sizes=" + " ".join(str(len(tree.encode())) for tree in scaled)
    first = texts[0]
    begins, ends = first.index("Tree=0"), first.index("end of trees")
    return _SIZES.sub(sizes, first[:begins]) + "".join(scaled) + first[ends:]


def _trees(text: str) -> list[str]:
    found = _TREE.findall(text)
    if len(found) != text.count("Tree=") or not found or len(_SIZES.findall(text)) != 1:
        msg = "a booster's text is not laid out as expected; boosters = 1 does without averaging"
        raise ValueError(msg)
    return found


def _scaled(tree: str, number: int, parts: int) -> str:
    """The tree under its new number, with its outputs divided; 17 digits keep a double exactly."""

    def divided(line: re.Match[str]) -> str:
        return f"{line[1]}=" + " ".join(format(float(value) / parts, ".17g") for value in line[2].split())

    return _OUTPUTS.sub(divided, re.sub(r"^Tree=\d+", f"Tree={number}", tree))
