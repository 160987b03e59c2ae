import math

import pytest
import torch
import torch.nn.functional as F

from kexue.losses.contrastive import info_nce, symmetric_info_nce


def definition(queries, keys, temperature, same=None, cosine=True):
    """The loss of each query in plain float64 arithmetic, shifted so that nothing overflows."""
    losses = []
    for i, q in enumerate(queries.double().tolist()):
        scores = []
        for j, k in enumerate(keys.double().tolist()):
            if same is not None and same[i][j] and i != j:
                continue
            size = math.hypot(*q) * math.hypot(*k) if cosine else 1.0
            dot = sum(a * b for a, b in zip(q, k, strict=True))
            scores.append((dot / size / temperature, i == j))
        top = max(score for score, _ in scores)
        total = sum(math.exp(score - top) for score, _ in scores)
        losses.append(top + math.log(total) - next(score for score, own in scores if own))
    return sum(losses) / len(losses)


def batch(rows, keys, width=5, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    k = torch.randn(keys, width, generator=generator, dtype=torch.float64)
    same = torch.rand(rows, keys, generator=generator) < 0.3
    return q.to(dtype), k.to(dtype), same


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (4, 4), (4, 12), (7, 9)])
def test_it_is_the_definition(rows, keys, masked, cosine):
    q, k, same = batch(rows, keys)
    same = same if masked else None
    loss = info_nce(q, k, temperature=0.3, same=same, cosine=cosine)
    assert loss.item() == pytest.approx(definition(q, k, 0.3, same, cosine), abs=1e-12)


def test_symmetric_is_the_mean_of_both_directions_and_nothing_looks_for_hard_negatives():
    q, k, same = batch(5, 8)
    loss = symmetric_info_nce(q, k, temperature=0.3, same=same)
    back = definition(k[:5], q, 0.3, same[:, :5].T)
    assert loss.item() == pytest.approx((definition(q, k, 0.3, same) + back) / 2, abs=1e-12)
    turned = symmetric_info_nce(k[:5], q, temperature=0.3)
    torch.testing.assert_close(symmetric_info_nce(q, k[:5], temperature=0.3), turned)


@pytest.mark.parametrize("function", [info_nce, symmetric_info_nce])
def test_gradients(function):
    q, k, same = batch(3, 5, 4)
    leaves = [x.requires_grad_() for x in (q, k, torch.tensor(0.4, dtype=torch.float64))]
    assert torch.autograd.gradcheck(
        lambda q, k, t: function(q, k, temperature=t, same=same), leaves
    )


def test_gradients_equal_those_of_the_formula_differentiated_by_autograd():
    q, k, same = batch(6, 9)
    leaves = [[x.clone().requires_grad_() for x in (q, k)] for _ in range(2)]
    info_nce(*leaves[0], temperature=0.1, same=same).backward()
    a, b = leaves[1]
    scores = torch.einsum("id,jd->ij", a, b) / a.norm(dim=1)[:, None] / b.norm(dim=1) / 0.1
    kept = ~same | torch.eye(6, 9, dtype=torch.bool)
    total = (scores.exp() * kept).sum(1).log()
    (total - scores.diagonal()).mean().backward()
    for ours, theirs in zip(*leaves, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("function", [info_nce, symmetric_info_nce])
def test_blocks_of_queries_change_nothing(function, monkeypatch):
    q, k, same = batch(23, 31)
    results = []
    for block in (2**22, 31 * 4, 1):
        monkeypatch.setattr("kexue.losses.contrastive._BLOCK", block)
        leaves = [q.clone(), k.clone(), torch.tensor([0.2], dtype=torch.float64)]
        leaves = [x.requires_grad_() for x in leaves]
        loss = function(leaves[0], leaves[1], temperature=leaves[2], same=same)
        loss.backward()
        results.append([loss.detach(), *(x.grad for x in leaves)])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-11, atol=1e-14)


def test_blocks_of_queries_bound_the_scores_that_are_kept(monkeypatch):
    monkeypatch.setattr("kexue.losses.contrastive._BLOCK", 200 * 10)
    kept = []
    q, k, _ = batch(200, 200, 8)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        info_nce(q.requires_grad_(), k.requires_grad_(), temperature=0.1)
    # Queries, keys and what normalises them; all scores would be 40,000 numbers.
    assert max(kept) <= 200 * 8


def test_gradient_by_the_scores_is_probability_minus_target():
    """The article's starting point: dL / ds = p - t, here read off with unit vectors as keys."""
    scores = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    info_nce(scores, torch.eye(4, dtype=torch.float64), temperature=1.0, cosine=False).backward()
    p = scores.detach().softmax(1)
    torch.testing.assert_close(scores.grad, (p - torch.eye(4, dtype=torch.float64)) / 4)


def test_a_sentence_that_occurs_twice_is_no_negative_of_itself():
    q, k, _ = batch(1, 3)
    same = torch.tensor([[True, False, False, True]])
    loss = info_nce(q, torch.cat((k, k[:1])), temperature=0.1, same=same)
    torch.testing.assert_close(loss, info_nce(q, k, temperature=0.1))
    assert loss < info_nce(q, torch.cat((k, k[:1])), temperature=0.1)


def test_parts_of_a_batch_do_not_add_up_to_it():
    """Why gradient accumulation alone does not do: a part sees fewer negatives."""
    q, k, _ = batch(24, 24, 16)
    gradients = []
    for parts in ([slice(0, 24)], [slice(i, i + 4) for i in range(0, 24, 4)]):
        leaf = q.clone().requires_grad_()
        for part in parts:
            (info_nce(leaf[part], k[part], temperature=0.2) / len(parts)).backward()
        gradients.append(leaf.grad)
    assert (gradients[1] - gradients[0]).norm() > 0.2 * gradients[0].norm()


def test_more_negatives_and_lower_temperature():
    q, k, _ = batch(6, 30)
    losses = [info_nce(q, k[:n], temperature=0.2).item() for n in (6, 12, 30)]
    assert losses == sorted(losses)
    texts = torch.eye(6)
    assert info_nce(texts, texts, temperature=0.01) < 1e-6
    assert info_nce(texts, texts.roll(1, 0), temperature=0.01) > 99


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    q, k, same = batch(6, 8, 16, dtype=dtype)
    leaf = q.requires_grad_()
    loss = info_nce(leaf, k, temperature=0.05, same=same)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(definition(leaf.detach(), k, 0.05, same), abs=1e-4)
    loss.backward()
    assert leaf.grad.dtype == dtype
    assert leaf.grad.isfinite().all()


def test_autocast_does_not_round_the_scores():
    q, k, _ = batch(6, 8, 16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(q, k, temperature=0.05)
    torch.testing.assert_close(loss, info_nce(q, k, temperature=0.05), rtol=0, atol=0)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_directions_alone_count_at_any_length_of_vectors(size):
    q, k, _ = batch(6, 6, dtype=torch.float32)
    leaf = (q * size).requires_grad_()
    loss = info_nce(leaf, k, temperature=0.05)
    torch.testing.assert_close(loss, info_nce(q, k, temperature=0.05))
    loss.backward()
    assert leaf.grad.isfinite().all()


def test_extreme_scores_and_vectors_of_zeros_stay_finite():
    q, k, _ = batch(4, 4, dtype=torch.float32)
    leaf = torch.cat((q, torch.zeros(1, 5))).requires_grad_()
    keys = torch.cat((-q, torch.ones(1, 5)))
    for temperature in (1e-4, 1e4):
        leaf.grad = None
        loss = info_nce(leaf, keys, temperature=temperature)
        loss.backward()
        assert loss.isfinite()
        assert leaf.grad.isfinite().all()
    assert info_nce(k, k, temperature=1e-4) < 1e-6


def test_a_learnt_temperature_of_either_shape_gets_the_same_gradient():
    q, k, _ = batch(4, 4, dtype=torch.float32)
    gradients = []
    for shape in ((), (1,), (1, 1)):
        temperature = torch.full(shape, 0.3, dtype=torch.float64, requires_grad=True)
        loss = info_nce(q, k, temperature=temperature)
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        loss.backward()
        gradients.append(temperature.grad.item())
    step = 1e-4
    slope = definition(q, k, 0.3 + step) - definition(q, k, 0.3 - step)
    assert gradients == pytest.approx([slope / (2 * step)] * 3, rel=1e-3)


def test_it_equals_cross_entropy_with_the_diagonal_as_labels():
    q, k, _ = batch(5, 7)
    scores = F.normalize(q) @ F.normalize(k).T / 0.07
    expected = F.cross_entropy(scores, torch.arange(5))
    torch.testing.assert_close(info_nce(q, k, temperature=0.07), expected)


@pytest.mark.parametrize(
    ("queries", "keys", "options", "message"),
    [
        ((3, 4), (3, 5), {}, r"keys is \(3, 5\).*queries \(3, 4\)"),
        ((3, 4), (2, 4), {}, "keys is '2 rows'; allowed: 3 or more"),
        ((0, 4), (0, 4), {}, "1 or more"),
        ((3, 4), (3, 4), {"temperature": 0.0}, "temperature is 0.0; allowed: a positive"),
        ((3, 4), (3, 4), {"same": torch.eye(2).bool()}, r"same is \(2, 2\); allowed: \(3, 3\)"),
    ],
)
@pytest.mark.parametrize("function", [info_nce, symmetric_info_nce])
def test_errors_say_what_to_type(function, queries, keys, options, message):
    with pytest.raises(ValueError, match=message):
        function(torch.ones(queries), torch.ones(keys), **{"temperature": 0.05, **options})
