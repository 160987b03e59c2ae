import pytest
import torch

from kexue.attention import rerope_blocks
from kexue.attention.rerope_blocks import Inputs, attend_blocks, backward_blocks


def problem(queries, keys, window, *, mask=None, groups=2):
    generator = torch.Generator().manual_seed(0)
    q, q_far = (
        torch.randn(2, 2 * groups, queries, 4, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    k, k_far, v = (
        torch.randn(2, 2, keys, 4, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    return Inputs(q, k, v, q_far, k_far, mask, window, 0.5)


def loop(inputs):
    """One query after the other."""
    q, k, v, q_far, k_far, mask, window, scale = inputs
    out, lse = torch.zeros_like(q), torch.full(q.shape[:3], torch.inf, dtype=q.dtype)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            head = h // inputs.groups
            for row in range(q.shape[2]):
                i = k.shape[2] - q.shape[2] + row
                scores, seen = [], []
                for j in range(i + 1):
                    if mask is not None and not mask.expand(2, 4, q.shape[2], -1)[b, h, row, j]:
                        continue
                    near = i - j < window
                    left, right = (q, k) if near else (q_far, k_far)
                    scores.append(left[b, h, row] @ right[b, head, j] * scale)
                    seen.append(v[b, head, j])
                if scores:
                    weights = torch.stack(scores)
                    lse[b, h, row] = weights.logsumexp(0)
                    out[b, h, row] = weights.softmax(0) @ torch.stack(seen)
    return out, lse


@pytest.mark.parametrize(("queries", "keys"), [(18, 18), (5, 18), (1, 18)])
@pytest.mark.parametrize("window", [1, 4, 30])
def test_equals_the_loop(queries, keys, window):
    inputs = problem(queries, keys, window)
    torch.testing.assert_close(attend_blocks(inputs), loop(inputs))


def test_a_query_without_keys_gets_nothing_and_gives_nothing():
    mask = torch.ones(2, 1, 1, 12, dtype=torch.bool)
    mask[0, ..., :3] = False
    inputs = problem(12, 12, 4, mask=mask)
    out, lse = attend_blocks(inputs)
    torch.testing.assert_close((out, lse), loop(inputs))
    assert out[0, :, :3].eq(0).all()
    assert lse[0, :, :3].eq(torch.inf).all()
    grads = backward_blocks(inputs, out, lse, torch.ones_like(out))
    assert all(grad.isfinite().all() for grad in grads)
    assert grads[0][0, :, :3].eq(0).all()
    assert grads[1][0, :, :3].eq(0).all()


@pytest.mark.parametrize("window", [1, 6, 25])
def test_the_height_of_blocks_changes_nothing(window, monkeypatch):
    inputs = problem(40, 50, window)
    whole = attend_blocks(inputs)
    grads = backward_blocks(inputs, *whole, whole[0])
    for height in (1, 7, 16):
        monkeypatch.setattr(rerope_blocks, "_HIGHEST", height)
        parts = attend_blocks(inputs)
        torch.testing.assert_close(parts, whole)
        torch.testing.assert_close(backward_blocks(inputs, *parts, whole[0]), grads)


def test_nothing_is_copied_of_a_cache_with_two_keys_in_turns():
    inputs = problem(1, 64, 9)
    store = torch.stack((inputs.k, inputs.k_far), 2)
    near, far = store.unbind(2)
    assert near.flatten(0, 1).data_ptr() == store.data_ptr()
    expected = attend_blocks(inputs)
    torch.testing.assert_close(attend_blocks(inputs._replace(k=near, k_far=far)), expected)


def test_inputs_stay_as_they_are():
    inputs = problem(20, 20, 5)
    copies = [x.clone() for x in inputs[:5]]
    out, lse = attend_blocks(inputs)
    backward_blocks(inputs, out, lse, torch.ones_like(out))
    assert all(torch.equal(x, copy) for x, copy in zip(inputs[:5], copies, strict=True))
