import math

import pytest
import torch
import torch.nn.functional as F

from kexue.attention.rerope import rerope_attend
from kexue.attention.rerope_blocks import Inputs, attend_blocks, backward_blocks
from kexue.attention.rerope_kernel import attend_kernel, backward_kernel
from kexue.positions import rope_angles, rotate
from kexue.positions.rerope import rerope_distance, rerope_scores

# Texts, heads, heads of keys, queries, keys, window.
SHAPES = [
    (2, 4, 2, 40, 40, 9),
    (1, 2, 2, 33, 33, 1),
    (1, 3, 1, 300, 300, 130),
    (2, 2, 1, 40, 40, 64),
    (1, 2, 2, 140, 140, 139),
    (2, 4, 2, 7, 40, 9),
    (2, 4, 4, 1, 40, 9),
    (1, 2, 1, 5, 9, 20),
    (1, 1, 1, 300, 500, 100),
]


def draw(texts, heads, key_heads, queries, keys, *, width=8, dtype=torch.float64):
    """Random q, k, v, q_far, k_far."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(heads, queries), (key_heads, keys), (key_heads, keys), (heads, queries)]
    return [
        torch.randn(texts, h, n, width, generator=generator, dtype=dtype, requires_grad=True)
        for h, n in [*shapes, (key_heads, keys)]
    ]


def dense(q, k, v, q_far, k_far, *, window, mask=None, scale=None):
    """The definition with all scores, and their log-sum-exp."""
    groups = q.shape[1] // k.shape[1]
    k, v, k_far = (x.repeat_interleave(groups, 1) for x in (k, v, k_far))
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    query = torch.arange(k.shape[2] - q.shape[2], k.shape[2]).unsqueeze(-1)
    r = query - torch.arange(k.shape[2])
    scores = torch.where(r < window, q @ k.mT, q_far @ k_far.mT) * scale
    keep = (r >= 0) if mask is None else (r >= 0) & mask
    scores = scores.masked_fill(~keep, -torch.inf)
    return scores.softmax(-1).nan_to_num(0) @ v, scores.logsumexp(-1)


def gradients(out, inputs, grad):
    found = torch.autograd.grad(out, inputs, grad, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [None, 0.7])
def test_values_and_gradients_equal_all_scores(shape, scale):
    *sizes, window = shape
    inputs = draw(*sizes)
    out = rerope_attend(*inputs, window=window, scale=scale)
    expected, _ = dense(*inputs, window=window, scale=scale)
    torch.testing.assert_close(out, expected)
    grad = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(
        gradients(out, inputs, grad), gradients(expected, inputs, grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s[3] == s[4]], ids=str)
def test_blocks_equal_the_kernel(shape):
    *sizes, window = shape
    inputs = Inputs(*(x.detach() for x in draw(*sizes)), None, window, 0.3)
    one, two = attend_blocks(inputs), attend_kernel(inputs)
    torch.testing.assert_close(one, two)
    grad = torch.ones_like(one[0])
    torch.testing.assert_close(
        backward_blocks(inputs, *one, grad), backward_kernel(inputs, *two, grad)
    )


def pair(q, k, *, window, step):
    """Queries and keys turned for near and for far, in the way of a model."""
    places = torch.arange(q.shape[-2], dtype=torch.float64)
    width = q.shape[-1]
    near = rope_angles(places, width)
    far_query = rope_angles(places * step + window * (1 - step), width)
    far_key = rope_angles(places * step, width)
    return rotate(q, near), rotate(k, near), rotate(q, far_query), rotate(k, far_key)


@pytest.mark.parametrize("step", [0.0, 0.25, 1.0, 3.0])
@pytest.mark.parametrize("window", [1, 7, 40])
def test_equals_attention_by_rectified_scores(window, step):
    q, k, v, _, _ = draw(2, 3, 3, 36, 36)
    near_q, near_k, far_q, far_k = pair(q, k, window=window, step=step)
    out = rerope_attend(near_q, near_k, v, far_q, far_k, window=window)
    scores = rerope_scores(q, k, window=window, step=step)
    torch.testing.assert_close(out, scores.softmax(-1) @ v)


def test_equals_one_rotation_per_pair_of_tokens():
    q, k, v, _, _ = (x.detach() for x in draw(1, 1, 1, 34, 34))
    near_q, near_k, far_q, far_k = pair(q, k, window=5, step=0.5)
    out = rerope_attend(near_q, near_k, v, far_q, far_k, window=5)
    for i in range(34):
        scores = []
        for j in range(i + 1):
            distance = rerope_distance(torch.tensor([i - j]), window=5, step=0.5).double()
            turned = rotate(q[0, 0, i : i + 1], rope_angles(distance, 8))
            scores.append(turned[0] @ k[0, 0, j] / math.sqrt(8))
        expected = torch.stack(scores).softmax(0) @ v[0, 0, : i + 1]
        torch.testing.assert_close(out[0, 0, i], expected)


def test_a_window_over_the_whole_text_is_plain_attention():
    q, k, v, far_q, far_k = draw(2, 2, 2, 50, 50)
    plain = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(rerope_attend(q, k, v, far_q, far_k, window=50), plain)
    assert not torch.allclose(rerope_attend(q, k, v, far_q, far_k, window=49), plain)


@pytest.mark.parametrize("step", [0.0, 0.5, 4.0])
def test_both_branches_agree_at_the_window(step):
    q, k, v, _, _ = draw(1, 2, 2, 45, 45)
    near_q, near_k, far_q, far_k = pair(q, k, window=8, step=step)
    tensors = (near_q, near_k, v, far_q, far_k)
    at, above, below = (rerope_attend(*tensors, window=w) for w in (8, 9, 7))
    torch.testing.assert_close(at, above)
    assert step == 1 or not torch.allclose(at, below)


@pytest.mark.parametrize("queries", [40, 12, 1])
def test_a_padding_mask_equals_all_scores(queries):
    inputs = draw(4, 2, 1, queries, 40)
    mask = torch.ones(4, 1, 1, 40, dtype=torch.bool)
    mask[0, ..., :13] = mask[1, ..., :13] = False
    mask[2, ..., 30:35] = False
    out = rerope_attend(*inputs, window=6, mask=mask)
    expected, _ = dense(*inputs, window=6, mask=mask)
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(
        gradients(out, inputs, torch.ones_like(out)),
        gradients(expected, inputs, torch.ones_like(out)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_padded_texts_equal_texts_alone():
    q, k, v, far_q, far_k = (x.detach() for x in draw(3, 2, 1, 60, 60))
    places = torch.arange(60)
    mask = torch.stack([places >= 0, places >= 17, places < 40])[:, None, None]
    out = rerope_attend(q, k, v, far_q, far_k, window=9, mask=mask)
    for text, part in ((0, slice(0, 60)), (1, slice(17, 60)), (2, slice(0, 40))):
        alone = (x[text : text + 1, :, part] for x in (q, k, v, far_q, far_k))
        torch.testing.assert_close(out[text : text + 1, :, part], rerope_attend(*alone, window=9))
    assert out[1, :, :17].eq(0).all()


def test_any_mask_equals_all_scores():
    inputs = draw(2, 2, 1, 37, 37)
    generator = torch.Generator().manual_seed(2)
    for shape in ((2, 1, 37, 37), (1, 2, 37, 37), (2, 2, 1, 37), (1, 1, 37, 1)):
        mask = torch.rand(shape, generator=generator) < 0.6
        out = rerope_attend(*inputs, window=6, mask=mask)
        expected, _ = dense(*inputs, window=6, mask=mask)
        torch.testing.assert_close(out, expected)
        grad = torch.ones_like(out)
        for ours, theirs in zip(
            gradients(out, inputs, grad), gradients(expected, inputs, grad), strict=True
        ):
            torch.testing.assert_close(ours, theirs.nan_to_num(0))


@pytest.mark.parametrize("queries", [34, 3])
def test_gradcheck(queries):
    inputs = draw(1, 2, 1, queries, 34, width=2)
    assert torch.autograd.gradcheck(lambda *x: rerope_attend(*x, window=4), inputs, fast_mode=True)


def test_a_gradient_without_memory_of_its_own():
    inputs = draw(1, 2, 1, 40, 40)
    grads = torch.autograd.grad(rerope_attend(*inputs, window=4).sum(), inputs)
    expected = torch.autograd.grad(dense(*inputs, window=4)[0].sum(), inputs)
    for ours, theirs in zip(grads, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02), (torch.float16, 3e-3)]
)
def test_other_dtypes(dtype, tolerance):
    inputs = draw(2, 4, 2, 70, 70)
    narrow = [x.detach().to(dtype).requires_grad_() for x in inputs]
    wide = [x.detach().double().requires_grad_() for x in narrow]
    out, (expected, _) = rerope_attend(*narrow, window=20), dense(*wide, window=20)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=4 * tolerance)
    grad = torch.ones_like(out)
    for ours, theirs in zip(
        gradients(out, narrow, grad), gradients(expected, wide, grad.double()), strict=True
    ):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=20 * tolerance)


def test_large_scores_do_not_overflow():
    inputs = [x.detach() * 40 for x in draw(1, 2, 1, 50, 50, dtype=torch.float32)]
    for queries in (50, 20):
        part = [x[:, :, -queries:] if i in (0, 3) else x for i, x in enumerate(inputs)]
        expected, _ = dense(*(x.double() for x in part), window=11)
        assert expected.isfinite().all()
        out = rerope_attend(*part, window=11)
        torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-2)


def peak(function):
    """The most bytes that are alive at once during a call."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        result = function()
        alive = most = 0
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    del result
    return most


def step(length, *, hole):
    inputs = draw(1, 2, 1, length, length, dtype=torch.float32)
    mask = torch.ones(1, 1, 1, length, dtype=torch.bool)
    mask[..., 5] = False

    def call():
        rerope_attend(*inputs, window=64, mask=mask if hole else None).sum().backward()

    return peak(call)


def test_memory_grows_with_the_length_not_with_its_square():
    one, two = step(2048, hole=False), step(4096, hole=False)
    assert two < 2.2 * one
    assert two < 0.1 * 2 * 4096**2 * 4


def test_with_any_mask_a_block_of_scores_is_held_and_no_more():
    # Three blocks of scores and the gradients, against three times all scores.
    assert step(4096, hole=True) < 0.5 * 2 * 4096**2 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, "window is 0; allowed: 1 or more"),
        ({"mask": torch.ones(2, 40, dtype=torch.bool)}, r"mask\[:, None, None\]"),
        ({"mask": torch.zeros(1, 1, 1, 40)}, "mask is 'torch.float32"),
    ],
)
def test_wrong_options_are_explained(change, message):
    inputs = draw(1, 2, 1, 40, 40)
    with pytest.raises(ValueError, match=message):
        rerope_attend(*inputs, **{"window": 4, **change})


def test_wrong_shapes_are_explained():
    q, k, v, far_q, far_k = draw(1, 4, 2, 40, 40)
    for wrong in (
        (q, k, v, far_q[:, :2], far_k),
        (q, k, v, far_q, far_k[:, :, :-1]),
        (q, k, v[:, :1], far_q, far_k),
        (q[:, :3], k, v, far_q[:, :3], far_k),
        (q, k[:, :, :9], v[:, :, :9], far_q, far_k[:, :, :9]),
    ):
        with pytest.raises(ValueError, match="allowed: "):
            rerope_attend(*wrong, window=4)
