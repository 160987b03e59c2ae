import math

import pytest
import torch
import torch.nn.functional as F
from scipy.special import gammainc

from kexue.attention.performer import (
    orthogonal_projection,
    performer_attend,
    performer_features,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(length, *, dim=8, size=1.0, dtype=torch.float64):
    random = generator()
    return [
        size * torch.randn(2, 3, length, n, generator=random, dtype=dtype) for n in (dim, dim, 5)
    ]


def written_out(x, projection):
    """The features one by one, as in the article."""
    x = x / x.shape[-1] ** 0.25
    half = (x * x).sum(-1) / 2
    features = [((x * w).sum(-1) - half).exp() for w in projection.to(x)]
    return torch.stack(features, -1) / math.sqrt(len(features))


def dense(q, k, v, projection, *, keep=None, causal=False):
    weights = written_out(q, projection) @ written_out(k, projection).mT
    if keep is not None:
        weights = weights * keep
    if causal:
        weights = weights.tril()
    return weights @ v / weights.sum(-1, keepdim=True)


def ragged(length):
    return (torch.arange(length) < torch.tensor([[length], [length - 4]]))[:, None, None]


def ratios(projections, q, k):
    """Estimate over truth of exp(<q, k> / sqrt(d)), for each of many projections [N, M, D]."""
    x = (q + k) / q.shape[0] ** 0.25
    squares = (q @ q + k @ k) / math.sqrt(q.shape[0])
    estimates = (projections.double() @ x - squares / 2).exp().mean(-1)
    return estimates / (q @ k / math.sqrt(q.shape[0])).exp()


DIM, DRAWS = 8, 40000


@pytest.fixture
def pair():
    """A query and a key."""
    return torch.full((2, DIM), 0.4, dtype=torch.float64).unbind()


@pytest.mark.parametrize("features", [8, 16, 5])
def test_estimates_have_no_bias(pair, features):
    random = generator()
    # A projection of many blocks is many independent projections of one block each.
    whole = orthogonal_projection(DIM, DIM * 2 * DRAWS, generator=random)
    found = ratios(whole.view(DRAWS, 2 * DIM, DIM)[:, :features], *pair)
    error = found.std() / math.sqrt(DRAWS)
    assert error < 0.01
    assert abs(found.mean() - 1) < 4 * error


def test_features_are_those_of_the_estimate(pair):
    projections = orthogonal_projection(DIM, DIM * 100, generator=generator()).view(100, DIM, DIM)
    expected = ratios(projections, *pair) * (pair[0] @ pair[1] / math.sqrt(DIM)).exp()
    for projection, value in zip(projections, expected, strict=True):
        query, key = (performer_features(x[None], projection) for x in pair)
        torch.testing.assert_close((query * key).sum(), value)


def test_without_the_signs_there_would_be_a_bias(pair):
    # What the test above would find if Q of a QR decomposition were taken as it is
    gauss = torch.randn(DRAWS, DIM, DIM, generator=generator(), dtype=torch.float64)
    norms = torch.randn(DRAWS, DIM, DIM, generator=generator(1), dtype=torch.float64).norm(dim=-1)
    found = ratios(torch.linalg.qr(gauss).Q.mT * norms.unsqueeze(-1), *pair)
    assert abs(found.mean() - 1) > 10 * found.std() / math.sqrt(DRAWS)


def test_orthogonal_directions_lower_the_variance(pair):
    orthogonal = orthogonal_projection(DIM, DIM * DRAWS, generator=generator())
    independent = torch.randn(DRAWS, DIM, DIM, generator=generator())
    ours = ratios(orthogonal.view(DRAWS, DIM, DIM), *pair).var()
    plain = ratios(independent, *pair).var()
    scaled = (pair[0] + pair[1]) / DIM**0.25
    assert plain == pytest.approx(((scaled @ scaled).exp().item() - 1) / DIM, rel=0.15)
    assert ours < 0.9 * plain


@pytest.mark.parametrize("spaced_norms", [False, True])
def test_blocks_are_orthogonal_and_norms_are_those_of_gaussian_vectors(spaced_norms):
    w = orthogonal_projection(16, 100, spaced_norms=spaced_norms, generator=generator())
    assert w.shape == (100, 16)
    assert w.dtype == torch.float32
    for block in w.split(16):
        gram = block @ block.T
        torch.testing.assert_close(gram, gram.diagonal().diag(), atol=1e-4, rtol=0)
    quantiles = torch.tensor(gammainc(8, (w.double().square().sum(-1) / 2).numpy())).sort().values
    spaced = torch.arange(1, 101).double() / 101
    assert (quantiles - spaced).abs().max() < (1e-4 if spaced_norms else 0.2)


def test_a_generator_decides_the_draw():
    first, again = (orthogonal_projection(4, 6, generator=generator()) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, orthogonal_projection(4, 6, generator=generator(1)))


@pytest.mark.parametrize("spaced_norms", [False, True])
def test_the_error_falls_as_one_over_the_root_of_the_features(spaced_norms):
    q, k, v = draw(20, size=0.3)
    exact = F.scaled_dot_product_attention(q, k, v)
    sizes = (16, 64, 256, 1024)
    errors = []
    for features in sizes:
        random = generator()
        squares = []
        for _ in range(16):
            w = orthogonal_projection(8, features, spaced_norms=spaced_norms, generator=random)
            squares.append((performer_attend(q, k, v, w) - exact).square().mean())
        errors.append(torch.stack(squares).mean().sqrt().log())
    x, y = torch.tensor(sizes).log(), torch.stack(errors).float()
    x, y = x - x.mean(), y - y.mean()
    slope = (x @ y / (x @ x)).item()
    assert -0.6 < slope < -0.4
    assert errors[-1].exp() < 0.002


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [1, 20, 70])
def test_equals_the_dense_matrix_with_its_gradients(length, causal, masked):
    leaves = [x.requires_grad_() for x in draw(length)]
    w = orthogonal_projection(8, 20, generator=generator())
    mask = ragged(length) if masked and length > 4 else None
    ours = performer_attend(*leaves, w, mask=mask, causal=causal)
    theirs = dense(*leaves, w, keep=mask, causal=causal)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    for left, right in zip(
        torch.autograd.grad(ours.sin().sum(), leaves),
        torch.autograd.grad(theirs.sin().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(left, right, atol=1e-8, rtol=1e-6)


def test_gradcheck_of_features():
    x = torch.randn(3, 4, generator=generator(), dtype=torch.float64, requires_grad=True)
    w = orthogonal_projection(4, 6, generator=generator())
    assert torch.autograd.gradcheck(lambda x: performer_features(x, w), [x])


def test_stabilised_features_are_the_features_up_to_a_factor():
    x, _, _ = draw(6)
    w = orthogonal_projection(8, 12, generator=generator())
    plain = performer_features(x, w)
    torch.testing.assert_close(plain, written_out(x, w))
    for axes in ((-1,), (-2, -1)):
        stable = performer_features(x, w, stabilise_over=axes)
        largest = plain.amax(axes, keepdim=True)
        torch.testing.assert_close(stable, plain / largest / math.sqrt(12))


def test_no_query_sees_a_later_token():
    q, k, v = draw(100)
    w = orthogonal_projection(8, 16, generator=generator())
    whole = performer_attend(q, k, v, w, causal=True)
    for n in (1, 64, 99):
        part = performer_attend(*(x[:, :, :n] for x in (q, k, v)), w, causal=True)
        torch.testing.assert_close(part, whole[:, :, :n])


def test_queries_and_keys_may_differ_in_number():
    q, k, v = draw(9)
    w = orthogonal_projection(8, 16, generator=generator())
    few = performer_attend(q[:, :, :4], k, v, w)
    torch.testing.assert_close(few, performer_attend(q, k, v, w)[:, :, :4])


def test_hidden_keys_may_hold_anything():
    q, k, v = draw(9)
    w = orthogonal_projection(8, 16, generator=generator())
    wild, mask = k.clone(), ragged(9)
    wild[1, :, 5:] = 100
    expected = performer_attend(q, k, v, w, mask=mask)
    torch.testing.assert_close(performer_attend(q, wild, v, w, mask=mask), expected)
    alone = performer_attend(q[1:], k[1:, :, :5], v[1:, :, :5], w)
    torch.testing.assert_close(expected[1:], alone)


def test_a_text_that_is_all_padding_gives_zeros_and_finite_gradients():
    leaves = [x.requires_grad_() for x in draw(6)]
    mask = torch.tensor([[True] * 6, [False] * 6])[:, None, None]
    w = orthogonal_projection(8, 16, generator=generator())
    out = performer_attend(*leaves, w, mask=mask)
    assert not out[1].any()
    for grad in torch.autograd.grad(out.sin().sum(), leaves):
        assert grad.isfinite().all()
        assert not grad[1].any()


@pytest.mark.parametrize("causal", [False, True])
def test_large_queries_and_keys_stay_finite(causal):
    leaves = [(x * 30).requires_grad_() for x in draw(40, dtype=torch.float32)]
    w = orthogonal_projection(8, 32, generator=generator())
    out = performer_attend(*leaves, w, causal=causal)
    assert out.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), leaves))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
def test_half_precision_is_as_exact_as_its_inputs(dtype, causal):
    q, k, v = (x.to(dtype) for x in draw(2000, dtype=torch.float32))
    w = orthogonal_projection(8, 32, generator=generator())
    out = performer_attend(q, k, v, w, causal=causal)
    assert out.dtype == dtype
    exact = performer_attend(*(x.double() for x in (q, k, v)), w, causal=causal)
    torch.testing.assert_close(out.double(), exact, atol=0.02, rtol=0.02)
    assert performer_features(q, w).dtype == torch.float32


def test_autocast_does_not_round_the_exponents():
    q, k, v = draw(50, size=3.0, dtype=torch.float32)
    w = orthogonal_projection(8, 32, generator=generator())
    plain = performer_attend(q, k, v, w), performer_features(q, w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = performer_attend(q, k, v, w), performer_features(q, w)
    torch.testing.assert_close(cast, plain)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: orthogonal_projection(0, 4), "dim is 0; allowed: 1 or more"),
        (lambda x, w: orthogonal_projection(4, 0), "features is 0; allowed: 1 or more"),
        (lambda x, w: performer_features(x, w[:, :3]), "Use orthogonal_projection\\(4, 6\\)"),
        (
            lambda x, w: performer_features(x, w, stabilise_over=(-2,)),
            "stabilise_over is \\(-2,\\)",
        ),
        (
            lambda x, w: performer_attend(x, x, x, w, mask=torch.ones(2, 2).bool()),
            "never sees pairs of tokens",
        ),
        (lambda x, w: performer_attend(x[:, :, :1], x, x, w, causal=True), "is \\(1, 2\\)"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 1, 2, 4), torch.zeros(6, 4))
