import itertools
import math

import pytest
import torch

from kexue.heads import EfficientGlobalPointer, GlobalPointer
from kexue.losses import multilabel_loss

HEADS = [GlobalPointer, EfficientGlobalPointer]


def turned(vector: torch.Tensor, position: int) -> torch.Tensor:
    """The rotary position by its definition, pair by pair."""
    out = vector.clone()
    for t in range(len(vector) // 2):
        angle = position * 10000 ** (-2 * t / len(vector))
        x, y = vector[2 * t].item(), vector[2 * t + 1].item()
        out[2 * t] = x * math.cos(angle) - y * math.sin(angle)
        out[2 * t + 1] = y * math.cos(angle) + x * math.sin(angle)
    return out


def loop_scores(head, states: torch.Tensor) -> torch.Tensor:
    """All scores [T, n, n] of one text, one cell at a time, from the formulas of the articles."""
    n, d = len(states), head.head_size
    turn = turned if head.rope else (lambda vector, position: vector)
    projected = head.project(states).detach()
    scores = torch.full((head.num_types, n, n), -torch.inf, dtype=states.dtype)
    for a in range(head.num_types):
        for i in range(n):
            for j in range(i, n):
                if isinstance(head, GlobalPointer):
                    block = slice(2 * d * a, 2 * d * a + d), slice(2 * d * a + d, 2 * d * (a + 1))
                    q, k = projected[i, block[0]], projected[j, block[1]]
                    extra = 0.0
                else:
                    u_i, u_j = projected[i], projected[j]
                    q, k = u_i[0::2], u_j[1::2]
                    weight, bias = head.bias.weight.detach(), head.bias.bias.detach()
                    by_start = weight[2 * a + 1] @ u_i + bias[2 * a + 1]
                    by_end = weight[2 * a] @ u_j + bias[2 * a]
                    extra = ((by_start + by_end) / 2).item()
                scores[a, i, j] = (turn(q, i) @ turn(k, j)).item() / math.sqrt(d) + extra
    return scores


def make(kind, *, types=3, width=12, head_size=6, rope=True, scale=1.0):
    torch.manual_seed(1)
    head = kind(width, types, head_size=head_size, rope=rope).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(scale)
    return head


def ragged(texts=4, length=9, width=12):
    torch.manual_seed(2)
    hidden = torch.randn(texts, length, width, dtype=torch.float64)
    mask = torch.zeros(texts, length, dtype=torch.bool)
    # Special tokens in front, padding behind, a hole in the middle, and an empty text.
    mask[0, 1:8] = True
    mask[1, :] = True
    mask[2, 2:6] = True
    mask[2, 4] = False
    return hidden, mask


SPANS = [[(0, 1, 1), (2, 1, 4), (2, 3, 4), (1, 7, 7)], [(1, 0, 8), (1, 0, 0)], [(0, 2, 5)], []]


def dense_loss(head, hidden, mask, spans):
    """The loss through all scores and the dense multi-label loss, mean over texts and types."""
    scores = head(hidden, mask)
    targets = torch.zeros(scores.shape, dtype=torch.bool)
    for text, found in enumerate(spans):
        for kind, start, end in found:
            targets[text, kind, start, end] = True
    return multilabel_loss(scores.flatten(2), targets.flatten(2)).mean()


@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("kind", HEADS)
def test_scores_equal_a_triple_loop(kind, rope):
    head = make(kind, rope=rope)
    hidden, _ = ragged()
    mask = torch.ones(hidden.shape[:2], dtype=torch.bool)
    scores = head(hidden, mask)
    for text in range(len(hidden)):
        torch.testing.assert_close(scores[text], loop_scores(head, hidden[text]))


@pytest.mark.parametrize("kind", HEADS)
def test_masked_cells_and_the_lower_triangle_are_minus_infinity(kind):
    head = make(kind)
    hidden, mask = ragged()
    scores = head(hidden, mask)
    exists = (mask[:, :, None] & mask[:, None]).triu()[:, None].expand_as(scores)
    assert (scores[~exists] == -torch.inf).all()
    assert scores[exists].isfinite().all()


@pytest.mark.parametrize("scale", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("kind", HEADS)
def test_loss_and_gradients_equal_the_dense_form(kind, rope, scale):
    head = make(kind, rope=rope, scale=scale)
    hidden, mask = ragged()
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    expected = dense_loss(head, theirs, mask, SPANS)
    expected.backward()
    expected_by_weights = [p.grad.clone() for p in head.parameters()]
    head.zero_grad()
    loss = head.loss(ours, mask, SPANS)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    (3 * loss).backward()
    torch.testing.assert_close(ours.grad, 3 * theirs.grad, rtol=1e-9, atol=1e-11)
    for parameter, gradient in zip(head.parameters(), expected_by_weights, strict=True):
        torch.testing.assert_close(parameter.grad, 3 * gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 300])
def test_long_texts_are_cut_into_strips_without_a_seam(kind, length):
    head = make(kind, scale=2.0)
    torch.manual_seed(length)
    hidden = torch.randn(2, length, 12, dtype=torch.float64)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, length // 2 :] = False
    spans = [[(0, 0, length - 1), (2, length // 3, length // 2)], [(1, 0, 0)] if length > 1 else []]
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    head.loss(ours, mask, spans).backward()
    dense_loss(head, theirs, mask, spans).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", HEADS)
def test_the_tensor_form_of_spans_and_repeats_change_nothing(kind):
    head = make(kind)
    hidden, mask = ragged()
    table = torch.full((4, 6, 3), -1)
    for text, found in enumerate(SPANS):
        for slot, span in enumerate([*found, *found[:1]]):
            table[text, slot] = torch.tensor(span)
    torch.testing.assert_close(head.loss(hidden, mask, table), head.loss(hidden, mask, SPANS))


@pytest.mark.parametrize("kind", HEADS)
def test_padding_and_company_do_not_matter(kind):
    head = make(kind)
    hidden, mask = ragged()
    alone = [head.loss(hidden[t : t + 1], mask[t : t + 1], SPANS[t : t + 1]) for t in range(4)]
    torch.testing.assert_close(head.loss(hidden, mask, SPANS), torch.stack(alone).mean())
    wider = torch.cat((hidden, torch.full((4, 5, 12), 1e6, dtype=torch.float64)), 1)
    wider_mask = torch.cat((mask, torch.zeros(4, 5, dtype=torch.bool)), 1)
    torch.testing.assert_close(head.loss(wider, wider_mask, SPANS), head.loss(hidden, mask, SPANS))
    assert head.decode(wider, wider_mask) == head.decode(hidden, mask)


@pytest.mark.parametrize("kind", HEADS)
def test_block_size_does_not_matter(kind, monkeypatch):
    head = make(kind)
    hidden, mask = ragged()
    whole, found = head.loss(hidden, mask, SPANS), head.decode(hidden, mask)
    monkeypatch.setattr("kexue.heads.packing._CPU_CELLS", 1)
    torch.testing.assert_close(head.loss(hidden, mask, SPANS), whole)
    assert [[s[:3] for s in text] for text in head.decode(hidden, mask)] == [
        [s[:3] for s in text] for text in found
    ]


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("threshold", [0.0, 0.7, [-0.5, 0.0, 1.0]])
def test_decoding_equals_a_loop_over_all_cells(kind, threshold):
    head = make(kind, scale=1.5)
    hidden, mask = ragged()
    scores = head(hidden, mask)
    limits = torch.tensor(threshold).expand(3).tolist()
    found = head.decode(hidden, mask, threshold=threshold)
    for text in range(4):
        expected = [
            (a, i, j)
            for i in range(9)
            for j in range(9)
            for a in range(3)
            if scores[text, a, i, j] > limits[a]
        ]
        assert [span[:3] for span in found[text]] == expected
        for span in found[text]:
            cell = scores[text, span.type, span.start, span.end].item()
            assert span.score == pytest.approx(cell, abs=1e-9)


@pytest.mark.parametrize("kind", HEADS)
def test_limit_keeps_the_best_and_flat_keeps_no_overlap(kind):
    head = make(kind, scale=2.0)
    hidden, mask = ragged()
    all_found = head.decode(hidden, mask)
    few = head.decode(hidden, mask, limit=2)
    for everything, kept in zip(all_found, few, strict=True):
        best = sorted((s.score for s in everything), reverse=True)[:2]
        assert sorted((s.score for s in kept), reverse=True) == best
    flat = head.decode(hidden, mask, flat=True)
    for everything, kept in zip(all_found, flat, strict=True):
        assert set(kept) <= set(everything)
        for left, right in itertools.pairwise(kept):
            assert left.end < right.start


@pytest.mark.parametrize("kind", HEADS)
def test_nested_spans_of_one_type_are_learnt_and_decoded(kind):
    torch.manual_seed(0)
    head = kind(16, 2, head_size=16)
    hidden = torch.randn(1, 12, 16)
    mask = torch.ones(1, 12, dtype=torch.bool)
    spans = [[(0, 2, 9), (0, 3, 5), (1, 2, 9), (0, 7, 7)]]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(hidden, mask, spans).backward()
        optimizer.step()
    assert [tuple(s[:3]) for s in head.decode(hidden, mask)[0]] == sorted(
        spans[0], key=lambda s: (s[1], s[2], s[0])
    )


@pytest.mark.parametrize("kind", HEADS)
def test_scores_depend_on_distance_only(kind):
    head = make(kind)
    hidden = torch.randn(1, 1, 12, dtype=torch.float64).expand(1, 30, 12)
    scores = head(hidden, torch.ones(1, 30, dtype=torch.bool))[0]
    for gap in (0, 3, 11):
        line = scores.diagonal(gap, 1, 2)
        torch.testing.assert_close(line, line[:, :1].expand_as(line))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", HEADS)
def test_autocast_and_half_weights(kind, dtype):
    torch.manual_seed(0)
    head = kind(32, 3, head_size=8)
    hidden = torch.randn(2, 20, 32)
    mask = torch.ones(2, 20, dtype=torch.bool)
    spans = [[(0, 1, 3), (2, 0, 19)], []]
    exact = head.loss(hidden, mask, spans)
    with torch.autocast("cpu", dtype=dtype):
        loss = head.loss(hidden, mask, spans)
        head.decode(hidden, mask)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.03, atol=0.03)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    half = head.to(dtype)
    half.zero_grad()
    half.loss(hidden.to(dtype), mask, spans).backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == dtype for p in half.parameters())


@pytest.mark.parametrize("size", [50.0, 100.0])
@pytest.mark.parametrize("kind", HEADS)
def test_float32_is_exact_at_extreme_scores(kind, size):
    torch.manual_seed(3)
    head = kind(8, 4, head_size=4)
    hidden = torch.randn(3, 40, 8)
    mask = torch.ones(3, 40, dtype=torch.bool)
    mask[1, 25:] = False
    with torch.no_grad():
        factor = (
            size
            / head(hidden, mask)
            .masked_fill(~mask[:, None, None], 0)
            .nan_to_num(neginf=0)
            .abs()
            .max()
        )
        for parameter in head.project.parameters():
            parameter.mul_(factor**0.5)
        if kind is EfficientGlobalPointer:
            for parameter in head.bias.parameters():
                parameter.mul_(factor**0.5)
    spans = [[(0, 3, 8), (1, 0, 39)], [(3, 24, 24)], []]
    double = kind(8, 4, head_size=4).double()
    double.load_state_dict({k: v.double() for k, v in head.state_dict().items()})
    ours, theirs = hidden.clone().requires_grad_(), hidden.double().requires_grad_()
    loss, expected = head.loss(ours, mask, spans), dense_loss(double, theirs, mask, spans)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    scale = theirs.grad.abs().max().item()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-3, atol=2e-5 * scale)


def test_parameter_counts_of_the_articles():
    def count(head):
        return sum(p.numel() for p in head.parameters())

    assert count(GlobalPointer(768, 10)) == 984_320
    assert count(EfficientGlobalPointer(768, 10)) == 101_012
    assert (
        count(EfficientGlobalPointer(768, 11)) - count(EfficientGlobalPointer(768, 10))
        == 4 * 64 + 2
    )


def test_errors_say_what_to_type():
    head = make(EfficientGlobalPointer)
    hidden, mask = ragged()
    with pytest.raises(ValueError, match=r"attention_mask.bool\(\)"):
        head.loss(hidden, mask.long(), SPANS)
    with pytest.raises(ValueError, match="types 0 to 2"):
        head.loss(hidden, mask, [[(3, 1, 1)], [], [], []])
    with pytest.raises(ValueError, match="tokens that mask keeps"):
        head.loss(hidden, mask, [[(0, 0, 1)], [], [], []])
    with pytest.raises(ValueError, match="0 <= start <= end < 9"):
        head.loss(hidden, mask, [[(0, 4, 3)], [], [], []])
    with pytest.raises(ValueError, match="one list for each of the 4 texts"):
        head.loss(hidden, mask, SPANS[:2])
    with pytest.raises(ValueError, match="one for each of 3 types"):
        head.decode(hidden, mask, threshold=[0.0, 1.0])
