"""How the entities of a text lie to each other: nested, crossing."""

from collections.abc import Iterator, Sequence

from kexue.data.records import Entity


def crossing_pairs(entities: Sequence[Entity]) -> Iterator[tuple[Entity, Entity]]:
    """Find pairs that overlap while neither contains the other.

    Args:
        entities: the entities of one record.

    Yields:
        Pairs, the one that begins first in front.

    Example:
        >>> a, b = Entity(start=0, end=3, label="a"), Entity(start=2, end=5, label="b")
        >>> [(x.label, y.label) for x, y in crossing_pairs([b, a])]
        [('a', 'b')]
    """
    ordered = sorted(entities, key=lambda e: (e.start, -e.end))
    for index, one in enumerate(ordered):
        for at in range(index + 1, len(ordered)):
            other = ordered[at]
            if other.start >= one.end:
                break
            # sorted as they are, two that begin together never cross
            if other.end > one.end:
                yield one, other


def count_nested(entities: Sequence[Entity]) -> int:
    """Count the entities that lie inside another one of the same record.

    Args:
        entities: the entities of one record.

    Returns:
        How many lie inside another; of several on the same span, all but one.

    Example:
        >>> spans = [(0, 4), (0, 2), (2, 4), (5, 6)]
        >>> count_nested([Entity(start=s, end=e, label="a") for s, e in spans])
        2
    """
    count, reach = 0, -1
    for entity in sorted(entities, key=lambda e: (e.start, -e.end)):
        count += entity.end <= reach
        reach = max(reach, entity.end)
    return count
