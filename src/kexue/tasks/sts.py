"""How well cosines of sentence vectors follow what people say: encoders, poolings, whitenings.

For each pair of texts the cosine of their vectors; for a set of pairs Spearman's correlation of
these cosines with the labels, equal values sharing the average of their ranks. A whitening is
fitted on all texts of the set, both sides, without labels, as in the article. A set of several
subsets, as STS12 to STS16, is given in both of the ways that papers report: "all", over all pairs
together, and "mean", the mean over subsets, weighted by their number of pairs.

Post: https://kexue.fm/archives/8321, https://kexue.fm/archives/9079
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kexue._check import invalid
from kexue.metrics import spearman
from kexue.sentences.moments import Moments
from kexue.sentences.whitening import Whitening
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.embedding_data import TextGroup


@dataclass(frozen=True)
class Transform:
    """What is done to vectors before their cosines are taken.

    Args:
        k: features that are kept; None keeps all.
        beta: share of the mean that is taken off.
        gamma: how far variances are made equal, 0 to 1.

    Example:
        >>> print(Transform(256), Transform(256, beta=0, gamma=0))
        whitened, 256 (0, 0), 256
    """

    k: int | None = None
    beta: float = 1.0
    gamma: float = 1.0

    def __str__(self) -> str:
        name = "whitened" if self.beta == self.gamma == 1 else f"({self.beta:g}, {self.gamma:g})"
        return name if self.k is None else f"{name}, {self.k}"


@dataclass(frozen=True)
class PairSet:
    """A set of pairs with labels.

    Args:
        name: of the set.
        pairs: groups of two texts with a label.
        subsets: for each pair the name of its subset; none where there is but one.

    Example:
        >>> len(PairSet("tiny", [TextGroup(("a", "b"), 1.0)]).pairs)
        1
    """

    name: str
    pairs: Sequence[TextGroup]
    subsets: Sequence[str] = ()

    @property
    def texts(self) -> list[str]:
        """All first texts, then all second ones."""
        return [group.texts[side] for side in (0, 1) for group in self.pairs]


@dataclass(frozen=True)
class StsScore:
    """A figure of the table.

    Attributes:
        encoder: its name.
        pooling: "P1" to "P4".
        transform: "raw", or what was done to the vectors.
        pairs: name of the set, with "all" or "mean" where it has subsets.
        spearman: the correlation, -1 to 1.
        features: features of the vectors that were compared.

    Example:
        >>> StsScore("mini", "P4", "raw", "STS-B", 0.5, 256).to_dict()["spearman"]
        0.5
    """

    encoder: str
    pooling: str
    transform: str
    pairs: str
    spearman: float
    features: int

    def to_dict(self) -> dict[str, Any]:
        """Give the figure as a JSON object.

        Returns:
            The fields by name.
        """
        return dict(vars(self))


@dataclass(frozen=True)
class StsTable:
    """All figures, which print as a table.

    Attributes:
        scores: the figures.
        notes: what could not be computed, and why.

    Example:
        >>> print(StsTable([StsScore("mini", "P4", "raw", "STS-B", 0.51234, 256)]).to_markdown())
        | encoder | pooling | vectors | STS-B |
        |---|---|---|--:|
        | mini | P4 | raw | 51.23 |
    """

    scores: Sequence[StsScore]
    notes: Sequence[str] = field(default_factory=list)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Give the table, a row for each encoder, pooling and transform.

        Returns:
            Names of the columns, and the cells, correlations times 100.
        """
        sets = list(dict.fromkeys(score.pairs for score in self.scores))
        found: dict[tuple[str, str, str], dict[str, str]] = {}
        for score in self.scores:
            row = found.setdefault((score.encoder, score.pooling, score.transform), {})
            row[score.pairs] = f"{100 * score.spearman:.2f}"
        cells = [[*key, *(row.get(name, "-") for name in sets)] for key, row in found.items()]
        return ["encoder", "pooling", "vectors", *sets], cells

    def to_markdown(self) -> str:
        """Give the table as Markdown.

        Returns:
            Its lines.
        """
        names, cells = self.rows()
        rule = ["---"] * 3 + ["--:"] * (len(names) - 3)
        head = "| " + " | ".join(names) + " |\n|" + "|".join(rule) + "|"
        return "\n".join([head, *("| " + " | ".join(row) + " |" for row in cells)])


def compare_encoders(
    encoders: Sequence[tuple[str, SentenceEncoder]],
    sets: Sequence[PairSet],
    *,
    transforms: Sequence[Transform] = (Transform(), Transform(256), Transform(256, 0.0, 0.0)),
    fit: Sequence[str] | None = None,
    batch_size: int = 64,
) -> StsTable:
    """Measure encoders on sets of pairs, with and without whitening.

    Args:
        encoders: names and sentence encoders; each has its pooling.
        sets: sets of pairs.
        transforms: what is done to the vectors, besides nothing.
        fit: texts to fit whitenings on; those of each set by default.
        batch_size: texts that go through an encoder at once.

    Returns:
        The figures, and notes on transforms that the texts are too few for.

    Raises:
        ValueError: if a set has no pairs, or one of its pairs no label.
    """
    for pairs in sets:
        if not pairs.pairs or any(group.label is None for group in pairs.pairs):
            raise invalid(f"the set {pairs.name}", "pairs without labels", "pairs with labels")
    scores: list[StsScore] = []
    notes: list[str] = []
    for name, encoder in encoders:
        learnt = None if fit is None else encoder(list(fit), batch_size=batch_size)
        for pairs in sets:
            vectors = encoder(pairs.texts, batch_size=batch_size)
            found = compare_transforms(
                vectors,
                pairs,
                vectors if learnt is None else learnt,
                transforms,
                encoder=name,
                pooling=encoder.model.config.pooling,
            )
            scores += found.scores
            notes += found.notes
    return StsTable(scores, notes)


def compare_transforms(
    vectors: np.ndarray,
    pairs: PairSet,
    fit: np.ndarray | Moments,
    transforms: Sequence[Transform],
    *,
    encoder: str = "",
    pooling: str = "",
) -> StsTable:
    """Measure vectors as they are, and after each of some transforms.

    Args:
        vectors: [2 n, D] of the first texts of the n pairs, then of the second ones.
        pairs: the pairs.
        fit: vectors that whitenings are fitted on, or their moments.
        transforms: what is done to the vectors, besides nothing.
        encoder: a name for the table.
        pooling: likewise.

    Returns:
        The figures, and notes on what the vectors to fit on are too few or too flat for.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> groups = [TextGroup((str(i), "b"), float(i % 3)) for i in range(20)]
        >>> table = compare_transforms(x, PairSet("tiny", groups), x, [Transform(2), Transform(9)])
        >>> [(score.transform, score.features) for score in table.scores], len(table.notes)
        ([('raw', 3), ('whitened, 2', 2)], 1)
    """
    scores: list[StsScore] = []
    notes: list[str] = []
    base = None
    for transform in (None, *transforms):
        changed, name = vectors, "raw" if transform is None else str(transform)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                if transform is not None and base is None:
                    base = (
                        Whitening().merge(fit) if isinstance(fit, Moments) else Whitening().fit(fit)
                    )
                if transform is not None:
                    changed = base.with_options(**vars(transform)).transform(vectors)
            except ValueError as error:
                notes.append(f"{encoder} {pairs.name} {name}: left out: {error}".strip())
                continue
        notes += [f"{encoder} {pairs.name} {name}: {w.message}".strip() for w in caught]
        scores += [
            StsScore(encoder, pooling, name, part, value, changed.shape[1])
            for part, value in correlations(changed, pairs).items()
        ]
    return StsTable(scores, notes)


def _fitted(on: np.ndarray | Moments) -> Whitening:
    return Whitening().merge(on) if isinstance(on, Moments) else Whitening().fit(on)


def correlations(vectors: np.ndarray, pairs: PairSet) -> dict[str, float]:
    """Correlate cosines with labels.

    Args:
        vectors: [2 n, D] of the first texts, then of the second ones.
        pairs: the n pairs.

    Returns:
        The correlation by the name of the set; with subsets, "NAME all" and "NAME mean".

    Example:
        >>> pairs = PairSet("tiny", [TextGroup(("a", "b"), 1.0), TextGroup(("a", "c"), 0.0)])
        >>> correlations(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), pairs)
        {'tiny': 1.0}
    """
    # A vector of zeros has no direction: its cosine is 0.
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.split(vectors / np.where(length == 0, 1, length), 2)
    cosines = np.einsum("nd,nd->n", first, second)
    labels = np.array([group.label for group in pairs.pairs])
    if len(set(pairs.subsets)) < 2:
        return {pairs.name: spearman(cosines, labels)}
    subsets = np.array(pairs.subsets)
    names, counts = np.unique(subsets, return_counts=True)
    each = [spearman(cosines[subsets == name], labels[subsets == name]) for name in names]
    return {
        f"{pairs.name} all": spearman(cosines, labels),
        f"{pairs.name} mean": float(np.average(each, weights=counts)),
    }
