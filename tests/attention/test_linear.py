import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from kexue.attention.linear import linear_attend
from kexue.positions import rope_angles, rotate

MAPS = ["exp", "elu1", "softmax2", "relu", "cos1"]
CAUSAL_MAPS = [name for name in MAPS if name != "softmax2"]
# Lengths below, at and above the chunk of the causal scan, and a ragged last one.
LENGTHS = [1, 7, 64, 65, 150]


def dense_features(name, q, k, keep):
    """Features as the articles write them; keys that are hidden have none."""
    ones = torch.ones_like(q[..., :1])
    if name == "exp":
        pair = q.exp(), k.exp()
    elif name == "elu1":
        pair = (torch.where(x < 0, x.exp(), x + 1) for x in (q, k))
    elif name == "softmax2":
        weights = k.exp() * keep.mT
        pair = q.exp() / q.exp().sum(-1, keepdim=True), weights / weights.sum(-2, keepdim=True)
    elif name == "relu":
        pair = q.clamp_min(0), k.clamp_min(0)
    else:
        pair = (torch.cat((x / x.norm(dim=-1, keepdim=True), ones), -1) for x in (q, k))
    query, key = pair
    return query, key * keep.mT


def dense(name, q, k, v, *, mask=None, causal=False, angles=None):
    """The whole matrix of attention, n by n."""
    keep = torch.ones(1, 1, 1, k.shape[2], dtype=torch.bool) if mask is None else mask
    if name == "cos1" and angles is not None:
        q, k, angles = rotate(q, angles), rotate(k, angles), None
    query, key = dense_features(name, q, k, keep)
    turned = (query, key) if angles is None else (rotate(query, angles), rotate(key, angles))
    top, bottom = turned[0] @ turned[1].mT, query @ key.mT
    if causal:
        top, bottom = top.tril(), bottom.tril()
    return (top @ v) / bottom.sum(-1, keepdim=True)


def draw(length, *, dtype=torch.float64, seed=0, width=6):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 3, length, 8), (2, 3, length, 8), (2, 3, length, width))
    return [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]


def ragged(length):
    return (torch.arange(length) < torch.tensor([[length], [max(1, length - 4)]]))[:, None, None]


# name, causal, rope, masked
SETTINGS = [
    setting
    for setting in product(MAPS, (False, True), (False, True), (False, True))
    if setting[:2] != ("softmax2", True)
]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("name", "causal", "rope", "masked"), SETTINGS)
def test_equals_the_dense_matrix(name, causal, rope, masked, length):
    q, k, v = draw(length)
    options = {
        "mask": ragged(length) if masked else None,
        "causal": causal,
        "angles": rope_angles(torch.arange(length).double(), 8) if rope else None,
    }
    ours = linear_attend(q, k, v, feature_map=name, **options)
    # relu: a query may have nothing in common with any key, which has no dense value.
    expected = dense(name, q, k, v, **options).nan_to_num(0)
    torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("name", "causal", "rope", "masked"), SETTINGS)
def test_gradients_equal_those_of_the_dense_matrix(name, causal, rope, masked):
    length = 70
    leaves = [x.requires_grad_() for x in draw(length)]
    options = {
        "mask": ragged(length) if masked else None,
        "causal": causal,
        "angles": rope_angles(torch.arange(length).double(), 8) if rope else None,
    }
    if name == "relu":  # no query without a key in common, where both are defined
        leaves = [leaves[0].abs().detach().requires_grad_(), *leaves[1:]]
        leaves[1] = leaves[1].abs().detach().requires_grad_()
    ours = linear_attend(*leaves, feature_map=name, **options).sin().sum()
    theirs = dense(name, *leaves, **options).sin().sum()
    for left, right in zip(
        torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves), strict=True
    ):
        torch.testing.assert_close(left, right, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rope", [False, True])
def test_gradcheck(causal, rope):
    leaves = [x[:1, :1, :5].requires_grad_() for x in draw(5)]
    angles = rope_angles(torch.arange(5).double(), 8) if rope else None
    torch.autograd.gradcheck(
        lambda *x: linear_attend(*x, causal=causal, angles=angles),
        [x.detach().requires_grad_() for x in leaves],
    )


def test_a_function_of_ones_own():
    q, k, v = draw(9)
    ours = linear_attend(q, k, v, feature_map=torch.sigmoid, causal=True)
    weights = (q.sigmoid() @ k.sigmoid().mT).tril()
    torch.testing.assert_close(ours, weights @ v / weights.sum(-1, keepdim=True))


def test_a_function_may_widen_the_features():
    q, k, v = draw(9)

    def both_signs(x):
        return F.relu(torch.cat((x, -x), -1))

    weights = both_signs(q) @ both_signs(k).mT
    expected = weights @ v / weights.sum(-1, keepdim=True)
    torch.testing.assert_close(linear_attend(q, k, v, feature_map=both_signs), expected)


def test_queries_and_keys_may_differ_in_number():
    q, k, v = draw(9)
    torch.testing.assert_close(linear_attend(q[:, :, :4], k, v), linear_attend(q, k, v)[:, :, :4])


@pytest.mark.parametrize("name", MAPS)
def test_hidden_keys_may_hold_anything(name):
    q, k, v = draw(9)
    mask = ragged(9)
    options = {"feature_map": name, "mask": mask}
    wild = k.clone(), v.clone()
    wild[0][1, :, 5:], wild[1][1, :, 5:] = 1e4, -1e4
    torch.testing.assert_close(
        linear_attend(q, *wild, **options), linear_attend(q, k, v, **options)
    )
    alone = linear_attend(q[1:, :, :5], k[1:, :, :5], v[1:, :, :5], feature_map=name)
    torch.testing.assert_close(linear_attend(q, k, v, **options)[1:, :, :5], alone)


@pytest.mark.parametrize("name", MAPS)
def test_a_text_that_is_all_padding_gives_zeros_and_finite_gradients(name):
    leaves = [x.requires_grad_() for x in draw(6)]
    mask = torch.tensor([[True] * 6, [False] * 6])[:, None, None]
    out = linear_attend(*leaves, feature_map=name, mask=mask)
    assert torch.equal(out[1], torch.zeros_like(out[1]))
    for grad in torch.autograd.grad(out.sin().sum(), leaves):
        assert grad.isfinite().all()
        assert not grad[1, :, :, :].any()


def test_a_mask_of_one_axis_is_shared():
    q, k, v = draw(5)
    mask = torch.tensor([True, True, False, True, False])
    expected = linear_attend(q, k, v, mask=mask[None, None, None].expand(2, 3, 1, 5))
    assert torch.equal(linear_attend(q, k, v, mask=mask), expected)


@pytest.mark.parametrize("name", CAUSAL_MAPS)
def test_no_query_sees_a_later_token(name):
    q, k, v = draw(100)
    whole = linear_attend(q, k, v, feature_map=name, causal=True)
    for n in (1, 63, 64, 99):
        first = linear_attend(*(x[:, :, :n] for x in (q, k, v)), feature_map=name, causal=True)
        torch.testing.assert_close(first, whole[:, :, :n])


def test_rope_sees_distances_only():
    q, k, v = draw(40)
    near, far = (rope_angles(torch.arange(40).double() + start, 8) for start in (0, 1000))
    for causal in (False, True):
        torch.testing.assert_close(
            linear_attend(q, k, v, causal=causal, angles=near),
            linear_attend(q, k, v, causal=causal, angles=far),
            atol=1e-9,
            rtol=1e-9,
        )


def test_the_rank_is_that_of_the_features():
    # The article: the matrix of linear attention has at most the rank of its features.
    q, k, _ = draw(50)
    weights = linear_attend(q, k, torch.eye(50, dtype=q.dtype).expand(2, 3, 50, 50))
    assert torch.linalg.matrix_rank(weights).max() <= 8
    # The causal one has full rank: a triangle without a zero on its diagonal.
    weights = linear_attend(q, k, torch.eye(50, dtype=q.dtype).expand(2, 3, 50, 50), causal=True)
    assert (weights.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert not weights.triu(1).any()


def test_elu1_is_the_exponential_below_zero_and_its_tangent_above():
    q, k, v = draw(9)
    q, k = -q.abs(), -k.abs()
    torch.testing.assert_close(
        linear_attend(q, k, v, feature_map="elu1"), linear_attend(q, k, v, feature_map="exp")
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rope", [False, True])
def test_half_precision_is_as_exact_as_its_inputs(dtype, causal, rope):
    # 3000 keys: in half precision alone the normaliser would stop growing.
    q, k, v = (x.to(dtype) for x in draw(3000, dtype=torch.float32))
    angles = rope_angles(torch.arange(3000), 8) if rope else None
    out = linear_attend(q, k, v, causal=causal, angles=angles)
    assert out.dtype == dtype
    exact = linear_attend(*(x.double() for x in (q, k, v)), causal=causal, angles=angles)
    torch.testing.assert_close(out.double(), exact, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("causal", [False, True])
def test_autocast_does_not_reach_the_sums(causal):
    q, k, v = (x.requires_grad_() for x in draw(100, dtype=torch.float32))
    plain = linear_attend(q, k, v, causal=causal)
    expected = torch.autograd.grad(plain.sin().sum(), (q, k, v))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = linear_attend(q, k, v, causal=causal)
        found = torch.autograd.grad(cast.sin().sum(), (q, k, v))
    torch.testing.assert_close(cast, plain)
    if causal:  # what autograd itself does inside autocast is not ours
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("size", [50.0, 1000.0])
@pytest.mark.parametrize("name", MAPS)
def test_large_queries_and_keys_stay_finite(name, size):
    leaves = [(x * size).requires_grad_() for x in draw(20, dtype=torch.float32)]
    out = linear_attend(*leaves, feature_map=name)
    assert out.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), leaves))


def test_memory_grows_with_the_length():
    q, k, v = (torch.zeros(1, 1, n, 8, requires_grad=True) for n in (4096, 4096, 4096))
    saved = []

    def keep(x):
        saved.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        linear_attend(q, k, v, causal=True)
    assert max(saved) <= 4096 * 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_map": "gelu"}, "feature_map is 'gelu'; allowed: 'exp', 'elu1'"),
        ({"feature_map": "softmax2", "causal": True}, "'exp' is 'softmax2' without"),
        ({"mask": torch.ones(4, 4, dtype=torch.bool)}, "never sees pairs of tokens"),
        ({"mask": torch.ones(1, 4)}, "mask is 'torch.float32"),
    ],
)
def test_mistakes_are_explained(options, message):
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match=message):
        linear_attend(x, x, x, **options)


@pytest.mark.parametrize("options", [{"causal": True}, {"angles": torch.zeros(3, 2)}])
def test_as_many_queries_as_keys_where_positions_count(options):
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="number of queries and keys is \\(3, 4\\)"):
        linear_attend(x[:, :, :3], x, x, **options)


def test_the_relative_weight_of_a_key_is_its_similarity():
    # cos1: 1 + cos of the angle between query and key, by hand.
    q = torch.tensor([[[[1.0, 0.0]]]])
    k = torch.tensor([[[[2.0, 0.0], [0.0, 3.0], [-4.0, 0.0], [1.0, 1.0]]]])
    v = torch.eye(4).view(1, 1, 4, 4)
    weights = torch.tensor([2.0, 1.0, 0.0, 1 + math.sqrt(0.5)])
    out = linear_attend(q, k, v, feature_map="cos1").flatten()
    torch.testing.assert_close(out, weights / weights.sum())
