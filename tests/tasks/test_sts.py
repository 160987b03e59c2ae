import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from kexue import SentenceEncoder
from kexue.models import SentenceConfig, SentenceModel, scratch_encoder, scratch_tokenizer
from kexue.sentences.moments import Moments
from kexue.sentences.whitening import Whitening
from kexue.tasks.embedding_data import TextGroup
from kexue.tasks.sts import (
    PairSet,
    StsScore,
    StsTable,
    Transform,
    compare_encoders,
    compare_transforms,
    correlations,
)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    groups = [
        TextGroup((f"a{rng.integers(30)} b{i}", f"c{rng.integers(30)} b{i}"), float(i % 4))
        for i in range(60)
    ]
    return PairSet("tiny", groups)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(1)
    return rng.normal(2, 1, size=(120, 6)) @ rng.normal(size=(6, 6))


def slow(vectors, pairs, keep=None):
    """Spearman's correlation of cosines, pair by pair, by scipy."""
    count = len(pairs.pairs)
    numbers = range(count) if keep is None else keep
    cosines = [
        vectors[i] @ vectors[count + i]
        / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[count + i])
        for i in numbers
    ]  # fmt: skip
    return spearmanr(cosines, [pairs.pairs[i].label for i in numbers]).statistic


def test_figures_are_the_definition(vectors, pairs):
    transforms = [Transform(), Transform(3), Transform(4, 0.0, 0.0), Transform(None, 0.5, 0.5)]
    table = compare_transforms(vectors, pairs, vectors, transforms, encoder="e", pooling="P3")
    assert [score.transform for score in table.scores] == [
        *("raw", "whitened", "whitened, 3", "(0, 0), 4", "(0.5, 0.5)")
    ]
    assert table.scores[0].spearman == pytest.approx(slow(vectors, pairs))
    for score, transform in zip(table.scores[1:], transforms, strict=True):
        whitening = Whitening(transform.k, beta=transform.beta, gamma=transform.gamma)
        changed = whitening.fit(vectors).transform(vectors)
        assert score.spearman == pytest.approx(slow(changed, pairs))
        assert score.features == changed.shape[1]


def test_turning_changes_no_cosine(vectors, pairs):
    table = compare_transforms(vectors, pairs, vectors, [Transform(None, 0.0, 0.0)])
    assert table.scores[0].spearman == pytest.approx(table.scores[1].spearman, abs=1e-12)


def test_whitenings_may_be_fitted_elsewhere(vectors, pairs):
    other = np.random.default_rng(5).normal(size=(300, 6)) * [5, 1, 1, 1, 1, 0.2]
    table = compare_transforms(vectors, pairs, other, [Transform()])
    changed = Whitening().fit(other).transform(vectors)
    assert table.scores[1].spearman == pytest.approx(slow(changed, pairs))
    moments = compare_transforms(vectors, pairs, Moments().add(other), [Transform()])
    assert moments.scores[1].spearman == pytest.approx(table.scores[1].spearman)


def test_subsets_are_given_together_and_as_a_weighted_mean(vectors, pairs):
    names = ["news"] * 40 + ["forum"] * 20
    found = correlations(vectors, PairSet("STS12", pairs.pairs, names))
    each = [slow(vectors, pairs, range(40)), slow(vectors, pairs, range(40, 60))]
    assert found == {
        "STS12 all": pytest.approx(slow(vectors, pairs)),
        "STS12 mean": pytest.approx((40 * each[0] + 20 * each[1]) / 60),
    }


def test_the_order_of_the_pairs_changes_nothing(vectors, pairs):
    order = np.random.default_rng(2).permutation(60)
    mixed = PairSet("tiny", [pairs.pairs[i] for i in order])
    again = correlations(np.concatenate([vectors[:60][order], vectors[60:][order]]), mixed)
    assert again["tiny"] == pytest.approx(correlations(vectors, pairs)["tiny"])


def test_a_vector_of_zeros_has_the_cosine_zero(vectors, pairs):
    vectors = vectors.copy()
    vectors[100] = 0
    found = correlations(vectors, pairs)["tiny"]
    # At a right angle to its partner
    vectors[100, :2] = vectors[40, 1], -vectors[40, 0]
    assert found == pytest.approx(correlations(vectors, pairs)["tiny"])


def test_what_cannot_be_computed_is_noted(vectors, pairs):
    flat = vectors.copy()
    flat[:, 0] = flat[:, 1]
    table = compare_transforms(flat, pairs, flat, [Transform(6), Transform(3)], encoder="e")
    assert [score.transform for score in table.scores] == ["raw", "whitened, 3"]
    assert any("e tiny whitened, 6: left out" in note for note in table.notes)
    few = compare_transforms(vectors, pairs, vectors[:4], [Transform()])
    assert few.scores[0].transform == "raw"
    assert few.notes


def test_tables(vectors):
    table = StsTable(
        [
            StsScore("mini", "P4", "raw", "A", 0.51234, 256),
            StsScore("mini", "P4", "raw", "B", -0.1, 256),
            StsScore("mini", "P4", "whitened", "B", 0.25, 256),
        ]
    )
    assert table.rows() == (
        ["encoder", "pooling", "vectors", "A", "B"],
        [["mini", "P4", "raw", "51.23", "-10.00"], ["mini", "P4", "whitened", "-", "25.00"]],
    )
    assert table.to_markdown().splitlines()[2] == "| mini | P4 | raw | 51.23 | -10.00 |"
    assert [str(t) for t in (Transform(), Transform(8), Transform(8, 1.0, 0.5))] == [
        *("whitened", "whitened, 8", "(1, 0.5), 8")
    ]


@pytest.fixture(scope="module")
def encoder(pairs):
    torch.manual_seed(0)
    tokenizer = scratch_tokenizer(pairs.texts)
    inner = scratch_encoder(len(tokenizer), layers=1, width=64)
    model = SentenceModel(SentenceConfig(inner.config, pooling="P3", window=32))
    return SentenceEncoder(model, tokenizer)


def test_encoders_are_compared_on_sets(encoder, pairs):
    second = PairSet("other", pairs.pairs[:40])
    table = compare_encoders(
        [("one", encoder), ("two", encoder)], [pairs, second], transforms=[Transform(8)]
    )
    assert len(table.scores) == 8
    vectors = encoder(pairs.texts)
    assert table.scores[0].spearman == pytest.approx(slow(vectors, pairs), abs=1e-3)
    changed = Whitening(8).fit(vectors).transform(vectors)
    assert table.scores[1].spearman == pytest.approx(slow(changed, pairs), abs=1e-2)
    assert {score.pooling for score in table.scores} == {"P3"}


def test_pairs_without_labels_are_refused(encoder, pairs):
    unlabelled = PairSet("bare", [TextGroup(("a", "b"))])
    with pytest.raises(ValueError, match="the set bare is 'pairs without labels'"):
        compare_encoders([("one", encoder)], [pairs, unlabelled])
