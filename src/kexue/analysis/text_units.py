"""What perturbed masking masks at once: Chinese characters, words of other scripts, signs.

Post: https://kexue.fm/archives/7476
Axes: N units of a text
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from kexue.analysis.segmentation import calibrate_threshold, segment

_HAN = r"\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNIT = re.compile(rf"[{_HAN}]|(?:(?![{_HAN}])\w)+|[^\w\s]")
_CHARACTER = re.compile(rf"[{_HAN}]")


def split_units(text: str) -> list[str]:
    """Cut a text where no word can be: around Chinese characters, signs and white space.

    Args:
        text: the text.

    Returns:
        Its units; white space is left out.

    Example:
        >>> split_units("我用Python 3，很好！")
        ['我', '用', 'Python', '3', '，', '很', '好', '！']
    """
    return _UNIT.findall(text)


def is_joint(units: Sequence[str]) -> Tensor:
    """Say between which neighbours a word may go on: two Chinese characters.

    Args:
        units: N units.

    Returns:
        bool [N - 1].

    Example:
        >>> is_joint(["很", "好", "！"])
        tensor([ True, False])
    """
    single = torch.tensor([bool(_CHARACTER.fullmatch(unit)) for unit in units])
    return single[1:] & single[:-1]


def join_characters(
    units: Sequence[str], strength: Tensor, *, threshold: float | None = None
) -> list[tuple[int, int]]:
    """Put Chinese characters together to words; what else there is stays apart.

    Args:
        units: N units of a text.
        strength: [N - 1] impact of neighbours.
        threshold: the least of neighbours that stay together; by default calibrated on these.

    Returns:
        Words as (first unit, unit after the last).

    Example:
        >>> join_characters(["很", "好", "！"], torch.tensor([5.0, 9.0]), threshold=4.0)
        [(0, 2), (2, 3)]
    """
    joint, strength = is_joint(units), strength.cpu()
    if threshold is None:
        threshold = calibrate_threshold([strength[joint]])
    return segment(strength.masked_fill(~joint, -torch.inf), threshold=threshold)
