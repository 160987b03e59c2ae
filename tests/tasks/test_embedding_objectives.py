import pytest
import torch
import torch.nn.functional as F

from kexue.tasks.embedding_objectives import (
    OBJECTIVES,
    Classify,
    Contrast,
    OrderCosines,
    Predict,
    make_objective,
)


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 8, generator=generator, dtype=torch.float64) for _ in range(3)]


def slow_contrast(queries, keys, own, negatives, temperature):
    """The loss of each query with only the keys in `negatives` against its own."""
    total = 0.0
    for i, query in enumerate(queries):
        scores = {j: F.cosine_similarity(query, keys[j], dim=0) / temperature for j in negatives[i]}
        scores[own[i]] = F.cosine_similarity(query, keys[own[i]], dim=0) / temperature
        total = total - scores[own[i]] + torch.stack(list(scores.values())).logsumexp(0)
    return total / len(queries)


def test_contrast_is_info_nce_over_positives_and_hard_negatives(vectors):
    found = Contrast(temperature=0.1)(vectors, {})
    keys = torch.cat(vectors[1:])
    expected = slow_contrast(vectors[0], keys, range(6), [range(12)] * 6, 0.1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_equal_texts_are_no_negatives(vectors):
    # Text 7 is the query of rows 0 and 3, text 20 the positive of rows 1 and 2 and the hard
    # negative of row 5, and the query of row 4 is the positive of row 5.
    ids = torch.tensor(
        [[7, 11, 30], [8, 20, 31], [9, 20, 32], [7, 13, 33], [50, 14, 34], [10, 50, 20]]
    )
    keys = ids[:, 1:].T.flatten().tolist()
    negatives = [
        [j for j, key in enumerate(keys) if key not in (int(query), int(positive)) or j == i]
        for i, (query, positive, _) in enumerate(ids)
    ]
    assert negatives[1] == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]
    assert 5 not in negatives[4]
    found = Contrast(temperature=0.1)(vectors, {"ids": ids})
    expected = slow_contrast(vectors[0], torch.cat(vectors[1:]), range(6), negatives, 0.1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found < Contrast(temperature=0.1)(vectors, {})


def test_two_views_of_texts_that_repeat(vectors):
    ids = torch.tensor([[1, 1], [2, 2], [1, 1], [3, 3], [4, 4], [5, 5]])
    found = Contrast(temperature=0.5)(vectors[:2], {"ids": ids})
    negatives = [[j for j in range(6) if ids[i, 0] != ids[j, 0]] for i in range(6)]
    expected = slow_contrast(vectors[0], vectors[1], range(6), negatives, 0.5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_temperature_learns_only_if_it_is_to(vectors):
    for learn in (False, True):
        contrast = Contrast(temperature=0.05, learn_temperature=learn)
        assert contrast.log_temperature.exp().item() == pytest.approx(0.05)
        assert [p.requires_grad for p in contrast.parameters()] == [learn]


def test_order_is_the_cosent_formula(vectors):
    labels = torch.tensor([0.0, 3.0, 1.0, 3.0, 5.0, 0.0])
    cosines = F.cosine_similarity(vectors[0].float(), vectors[1].float())
    terms = [
        20 * (cosines[j] - cosines[i]) for i in range(6) for j in range(6) if labels[i] > labels[j]
    ]
    expected = torch.stack([torch.tensor(0.0), *terms]).logsumexp(0)
    torch.testing.assert_close(OrderCosines()(vectors[:2], {"labels": labels}), expected)


def test_labels_are_classes_whatever_their_numbers(vectors):
    classify = Classify(8, [5.0, 0.0, 2.5]).double()
    labels = torch.tensor([0.0, 2.5, 5.0, 5.0, 0.0, 2.5])
    u, v = vectors[:2]
    features = torch.cat([u, v, (u - v).abs()], 1)
    expected = F.cross_entropy(
        features @ classify.head.score.weight.T, labels.float().mul(0.4).long()
    )
    torch.testing.assert_close(classify([u, v], {"labels": labels}), expected)


def test_predictions_stop_at_their_targets(vectors):
    predict = Predict(8)
    u, v = (x.float().requires_grad_() for x in vectors[:2])
    p, q = predict.predictor(u), predict.predictor(v)
    cosine = F.cosine_similarity
    expected = -(cosine(p, v.detach()).mean() + cosine(q, u.detach()).mean()) / 2
    found = predict([u, v], {})
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(loss, [u, v]) for loss in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_byol_predicts_the_targets_it_is_given(vectors):
    predict = Predict(8).eval()
    u, v, t = (x.float() for x in vectors)
    p, q = predict.predictor(u), predict.predictor(v)
    cosine = F.cosine_similarity
    expected = -(cosine(p, t.flip(0)).mean() + cosine(q, t).mean()) / 2
    torch.testing.assert_close(predict([u, v], {"targets": [t, t.flip(0)]}), expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_name_makes_an_objective_that_can_be_trained(name, vectors):
    objective = make_objective(name, 8, labels=[0.0, 1.0])
    u, v = (x.float().requires_grad_() for x in vectors[:2])
    batch = {
        "ids": torch.arange(12).view(6, 2),
        "labels": torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]),
    }
    loss = objective([u, v], batch)
    assert loss.shape == ()
    for gradient in torch.autograd.grad(loss, [u, v]):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="'simcse', 'simsiam', 'byol'"):
        make_objective("triplet", 8)
    with pytest.raises(ValueError, match="take --objective cosent"):
        make_objective("sentence-bert", 8, labels=[x / 7 for x in range(500)])
    with pytest.raises(ValueError, match="2 to 100 to classify"):
        make_objective("sentence-bert", 8, labels=[1.0, 1.0])
