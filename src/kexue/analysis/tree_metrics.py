"""How much of the trees that people drew is in the trees that a program found.

    UAS    share of words with the right head; the root's is right where the root is
    UUAS   share of the edges, whichever end is the head
    NED    share of words whose head is right, or is the word's right child or its head's head

Paper: https://aclanthology.org/P11-1067 (NED)
Post: https://kexue.fm/archives/7476
Axes: N words of a text
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kexue._check import invalid


@dataclass(frozen=True)
class AttachmentScores:
    """How well heads were found.

    Attributes:
        uas: share of words with the right head.
        uuas: share of edges that were found, in either direction.
        ned: share of words with the right head, or one that is off by one turn of an edge.
        words: how many words were scored.

    Example:
        >>> print(AttachmentScores(0.5, 0.75, 0.8, 40))
        UAS 50.0, UUAS 75.0, NED 80.0 of 40 words
    """

    uas: float
    uuas: float
    ned: float
    words: int

    def to_dict(self) -> dict[str, float]:
        """Give the figures as a JSON object.

        Returns:
            Fields by name.
        """
        return asdict(self)

    def __str__(self) -> str:
        shares = f"UAS {100 * self.uas:.1f}, UUAS {100 * self.uuas:.1f}, NED {100 * self.ned:.1f}"
        return f"{shares} of {self.words} words"


def attachment_scores(
    predicted: Sequence[Sequence[int]],
    gold: Sequence[Sequence[int]],
    *,
    keep: Sequence[Sequence[bool]] | None = None,
) -> AttachmentScores:
    """Compare dependency trees with the right ones, over all texts together.

    Args:
        predicted: the heads of each text, -1 for the root, as `parse_tree` gives them.
        gold: the right heads of the same texts.
        keep: for each text, which words are scored, for instance all but punctuation; an edge
            belongs to its word, not to its head. By default all are.

    Returns:
        The scores; 0 where there is nothing to divide by.

    Raises:
        ValueError: if texts or words are missing.

    Example:
        >>> attachment_scores([[1, -1, 1]], [[1, 2, -1]]).uuas
        1.0
    """
    masks = [[True] * len(heads) for heads in gold] if keep is None else keep
    sizes = [[len(part) for part in parts] for parts in (predicted, gold, masks)]
    if sizes[0] != sizes[1] or sizes[1] != sizes[2]:
        fix = "Give one head and one mark for each word of each text."
        raise invalid("predicted", f"texts of {sizes[0]} words", f"those of gold, {sizes[1]}", fix)
    right = edges = near = words = scored = 0
    for ours, theirs, kept in zip(predicted, gold, masks, strict=True):
        found = {frozenset(edge) for edge in enumerate(ours)}
        for word, head in enumerate(theirs):
            if not kept[word]:
                continue
            words += 1
            right += ours[word] == head
            near += ours[word] in _neighbourhood(theirs, word)
            scored += head >= 0
            edges += head >= 0 and frozenset((word, head)) in found
    some = max(1, words)
    return AttachmentScores(right / some, edges / max(1, scored), near / some, words)


def _neighbourhood(heads: Sequence[int], word: int) -> set[int]:
    """List the heads that are at most one turned edge away from the right one."""
    head = heads[word]
    above = {heads[head]} if head >= 0 else set()
    return {head, *above, *(child for child, over in enumerate(heads) if over == word)}


def left_chain(count: int, *, root: int = 0) -> list[int]:
    """Put each word under its left neighbour, for comparison.

    Args:
        count: N words.
        root: the word at the top; those left of it are under their right neighbours.

    Returns:
        The head of each word, -1 for the root.

    Example:
        >>> left_chain(4), left_chain(4, root=2)
        ([-1, 0, 1, 2], [1, 2, -1, 2])
    """
    return [word + 1 if word < root else -1 if word == root else word - 1 for word in range(count)]


def right_chain(count: int) -> list[int]:
    """Put each word under its right neighbour, for comparison.

    Args:
        count: N words.

    Returns:
        The head of each word, -1 for the last.

    Example:
        >>> right_chain(4)
        [1, 2, 3, -1]
    """
    return left_chain(count, root=count - 1)
