"""From what stands in a cell of a score table to a number, the metrics of a task, or no score.

92.4        a score; also 92.4%, and with a deviation behind it, 92.4 ± 0.3, which is left out
96.9/98.0   two metrics of one task
-           no score; also an empty cell, --, n/a, nan, null, none and ?
"""

import math
import re

from kexue.data.explaining import shorten
from kexue.data.records import FormatError

_NO_SCORE = frozenset(
    {"", "-", "--", "---", "–", "—", "?", "-/-", "n/a", "na", "nan", "null", "none"}
)
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_METRIC = re.compile(rf"({_NUMBER})\s*%?", re.ASCII)
_DEVIATION = re.compile(rf"\s*(?:±|\+/-|\+-)\s*{_NUMBER}\s*%?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+\s*%?", re.ASCII)
_LARGEST = 1e100  # as in the means
_FIX = "Write a number, several metrics as 96.9/98.0, or - for no score."

Score = float | tuple[float, ...] | None


def read_cell(value: object) -> Score:
    """Read the score in a cell.

    Args:
        value: the text of a cell, or a value of JSON: a number, a list of metrics, null.

    Returns:
        A number, a tuple of metrics, or None where there is no score.

    Raises:
        FormatError: it is something else.

    Example:
        >>> read_cell("92.4"), read_cell("96.9/98.0"), read_cell("-"), read_cell("91.5 ± 0.2")
        (92.4, (96.9, 98.0), None, 91.5)
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        metrics = tuple(_number(metric) for metric in value)
        if not metrics:
            raise FormatError("a list of metrics is empty", "Write null for no score.")
        return metrics
    return None if value is None else _number(value)


def has_deviation(value: object) -> bool:
    """Tell whether a cell holds a deviation, which is no part of the score.

    Args:
        value: the text of a cell, or a value of JSON.

    Returns:
        Whether it does.

    Example:
        >>> has_deviation("91.5 ± 0.2"), has_deviation("91.5")
        (True, False)
    """
    return isinstance(value, str) and _DEVIATION.search(value) is not None


def _text(cell: str) -> Score:
    text = cell.replace("\u2212", "-").strip()
    if text.lower() in _NO_SCORE:
        return None
    parts = [part.strip() for part in _DEVIATION.sub("", text).split("/")]
    metrics = tuple(_metric(cell, part) for part in parts)
    return metrics[0] if len(metrics) == 1 else metrics


def _metric(cell: str, part: str) -> float:
    match = _METRIC.fullmatch(part)
    if match:
        return _number(float(match[1]))
    if _COMMA.fullmatch(part):
        fix = f"Write {part.replace(',', '.')}, or {part.replace(',', '')} if thousands are meant."
        raise FormatError(f"{shorten(cell)} has a comma for a point", fix)
    raise FormatError(f"{shorten(cell)} is no score", _FIX)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormatError(f"{shorten(value)} is no score", _FIX)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _LARGEST:
        raise FormatError("the score is too large for a mean", "Write a smaller one.")
    return number
