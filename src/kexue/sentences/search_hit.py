"""What a search gives back.

Post: https://kexue.fm/archives/8069
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SearchHit:
    """A text that was found.

    Attributes:
        text: the text.
        score: its cosine with the query, or its inner product where that is the metric.
        id: its number in the index, from 0 in the order of adding.

    Example:
        >>> print(SearchHit("今天天气好", 0.83, 7))
        0.8300 今天天气好
    """

    text: str
    score: float
    id: int

    def __str__(self) -> str:
        return f"{self.score:.4f} {self.text}"

    def to_dict(self) -> dict[str, Any]:
        """Give the hit as a JSON object.

        Returns:
            Its fields.
        """
        return asdict(self)
