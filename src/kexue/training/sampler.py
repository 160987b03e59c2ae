"""Batches of texts of nearly equal length, so that hardly any padding is computed.

Every epoch multiplies each length by its own random factor between 1 and 1 + jitter, sorts by the
product, cuts the order into batches and shuffles the batches. Texts whose lengths lie within the
jitter of each other meet in ever new company, and for n texts per batch

    padded tokens <= (1 + jitter) * (real tokens + 2 n * longest).

How many texts go into which batch depends on the lengths alone, never on the epoch: each epoch has
the same number of batches, so that steps, learning-rate schedule and resuming are right also
where a budget of tokens makes batches of different sizes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from kexue._check import invalid


def plan_batches(
    lengths: Sequence[int],
    *,
    batch_size: int | None = None,
    tokens_per_batch: int | None = None,
    jitter: float = 0.05,
) -> list[int]:
    """Choose how many texts go into each batch, beginning with the longest texts.

    A batch under a token budget is sized for the longest text that the jitter can bring into it,
    so that texts times longest text never exceeds the budget.

    Args:
        lengths: tokens of each text, at least 1, in any order.
        batch_size: texts per batch at most.
        tokens_per_batch: texts times longest text per batch at most; at least the longest text.
        jitter: how much longer, relatively, a text may count than it is; 0 or more.

    Returns:
        The size of each batch when full; only the last may find fewer texts than its size.

    Raises:
        ValueError: neither rule was given, or a text does not fit into the budget.

    Example:
        >>> plan_batches([3, 4, 10, 5, 9], batch_size=2)
        [2, 2, 2]
        >>> plan_batches([3, 4, 10, 5, 9], tokens_per_batch=20, jitter=0.0)
        [2, 4]
    """
    falling = np.sort(np.asarray(lengths))[::-1]
    _check_plan(falling, batch_size, tokens_per_batch, jitter)
    longest = int(falling[0])
    most = len(falling) if batch_size is None else batch_size
    sizes, start = [], 0
    while start < len(falling):
        size = most
        if tokens_per_batch is not None:
            reach = min(longest, int(falling[start] * (1 + jitter)))
            size = min(most, tokens_per_batch // reach)
        sizes.append(size)
        start += size
    return sizes


def _check_plan(
    falling: np.ndarray, batch_size: int | None, tokens_per_batch: int | None, jitter: float
) -> None:
    """Refuse what no batches can be made of."""
    if falling.ndim != 1 or len(falling) == 0 or falling[-1] < 1:
        raise invalid("lengths", falling.tolist(), "at least one text of at least 1 token")
    if batch_size is None and tokens_per_batch is None:
        raise invalid("batch_size", None, "a number of texts, or tokens_per_batch instead")
    if batch_size is not None and batch_size < 1:
        raise invalid("batch_size", batch_size, "1 or more")
    if tokens_per_batch is not None and tokens_per_batch < falling[0]:
        raise invalid(
            "tokens_per_batch",
            tokens_per_batch,
            f"{falling[0]} or more, the tokens of the longest text",
            "Raise the budget, or cut long texts into shorter windows.",
        )
    if not jitter >= 0:
        raise invalid("jitter", jitter, "0 or more, as in 0.1")


def padding_ratio(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Divide the tokens of padded batches by the tokens of their texts.

    Args:
        lengths: tokens of each text.
        batches: indices of the texts of each batch.

    Returns:
        1 where nothing is padded; 2 where half of what is computed is padding.

    Example:
        >>> padding_ratio([2, 4, 6], [[0, 1], [2]])
        1.1666666666666667
    """
    sizes = np.asarray(lengths)
    padded = sum(len(batch) * int(sizes[batch].max()) for batch in batches)
    return padded / sum(int(sizes[batch].sum()) for batch in batches)


class LengthBucketSampler(Sampler[list[int]]):
    """Yield batches of indices of texts of nearly equal length, in a new order every epoch.

    The order depends on `seed` and the epoch alone and leaves every global random state as it is.
    Call `set_epoch` before each epoch (the Trainer and accelerate do).

    Args:
        lengths: tokens of each text, at least 1.
        batch_size: texts per batch at most.
        tokens_per_batch: texts times longest text per batch at most; at least one of the two
            rules must be given, and both hold where both are.
        seed: of the order.
        jitter: relative noise on the lengths. 0 leaves only ties to chance; 0.05 lets texts meet
            whose lengths differ by a twentieth, and costs 1 to 2 % more padding.
        drop_last: leave out the one batch that is not full; it is another one every epoch.
        processes: how many processes take a batch each at the same time. Their batches are
            neighbours in length, so that no process waits for another.
        longest_first: begin the first epoch with the longest texts, so that a batch that does
            not fit into memory is met at once rather than after an hour.

    Raises:
        ValueError: there are no texts, no rule, or a text longer than the token budget.

    Example:
        >>> sampler = LengthBucketSampler([3, 9, 3, 10], batch_size=2)
        >>> [sorted(batch) for batch in sampler]
        [[1, 3], [0, 2]]
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        batch_size: int | None = None,
        tokens_per_batch: int | None = None,
        seed: int = 0,
        jitter: float = 0.05,
        drop_last: bool = False,
        processes: int = 1,
        longest_first: bool = True,
    ) -> None:
        if processes < 1:
            raise invalid("processes", processes, "1 or more")
        self.lengths = np.asarray(lengths)
        self.sizes = plan_batches(
            lengths, batch_size=batch_size, tokens_per_batch=tokens_per_batch, jitter=jitter
        )
        # accelerate takes None to mean that sizes vary: it then hands out whole batches only.
        self.batch_size = None
        self.seed = seed
        self.jitter = jitter
        self.drop_last = drop_last
        self.processes = processes
        self.longest_first = longest_first
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows.

        Args:
            epoch: 0 or more.

        Example:
            >>> sampler = LengthBucketSampler([3] * 100, batch_size=50)
            >>> first = list(sampler)
            >>> sampler.set_epoch(1)
            >>> list(sampler) == first
            False
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sizes) - int(self.drop_last and self._excess > 0)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = self._cut(self._order(rng), rng)
        for group in self._shuffled(batches, rng):
            for batch in group:
                yield batch.tolist()

    @property
    def _excess(self) -> int:
        """How many texts more the planned batches could hold."""
        return sum(self.sizes) - len(self.lengths)

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        """Sort all indices by falling length, blurred by the jitter, ties at random."""
        order = rng.permutation(len(self.lengths))
        blurred = self.lengths[order] * (1 + self.jitter * rng.random(len(order)))
        return order[np.argsort(-blurred, kind="stable")]

    def _cut(self, order: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Cut the order into batches; the one that is not full gets a random place."""
        sizes, place = list(self.sizes), None
        if self._excess:
            short = sizes.pop() - self._excess
            # Where a full batch has that many texts, fewer texts as long fit as well. The first
            # batch stays full: it is the one that has to show that memory suffices.
            places = [i for i, size in enumerate(sizes) if i > 0 and size >= short]
            place = int(rng.choice([*places, len(sizes)]))
            sizes.insert(place, short)
        batches = np.split(order, np.cumsum(sizes)[:-1])
        if self.drop_last and place is not None:
            del batches[place]
        return batches

    def _shuffled(
        self, batches: list[np.ndarray], rng: np.random.Generator
    ) -> list[list[np.ndarray]]:
        """Shuffle groups of one batch for each process; a group that lacks some comes last."""
        rest = len(batches) % self.processes
        starts = list(range(0, len(batches) - rest, self.processes))
        if rest:
            place = int(rng.integers(min(1, len(starts)), len(starts) + 1))
            starts = starts[:place] + [start + rest for start in starts[place:]]
            last = place * self.processes
        first = starts.pop(0) if self.longest_first and self.epoch == 0 and starts else None
        rng.shuffle(starts)
        if first is not None:
            starts.insert(0, first)
        groups = [batches[start : start + self.processes] for start in starts]
        return [*groups, batches[last : last + rest]] if rest else groups
