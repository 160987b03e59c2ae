import math

import pytest
import torch
import torch.nn.functional as F

from kexue.losses import multilabel_loss, sparse_multilabel_loss
from kexue.losses.multilabel import positive_part


def log1p_sum_exp(terms: list[float]) -> float:
    """log(1 + sum of e^x) in plain float64 arithmetic, shifted so that nothing overflows."""
    top = max([0.0, *terms])
    return top + math.log(math.exp(-top) + sum(math.exp(x - top) for x in terms))


def oracle(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    rows = []
    for row, truth in zip(scores.double().tolist(), targets.tolist(), strict=True):
        cells = [(s, t) for s, t in zip(row, truth, strict=True) if s != -math.inf]
        rows.append(
            log1p_sum_exp([s for s, t in cells if not t])
            + log1p_sum_exp([-s for s, t in cells if t])
        )
    return torch.tensor(rows, dtype=torch.float64)


def dense_autograd(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The formula through logsumexp, differentiated by autograd."""
    zero = scores.new_zeros(len(scores), 1)
    absent = scores == -torch.inf
    up = torch.cat((scores.masked_fill(targets, -torch.inf), zero), 1)
    down = torch.cat(((-scores).masked_fill(~targets | absent, -torch.inf), zero), 1)
    return up.logsumexp(1) + down.logsumexp(1)


def index_form(targets: torch.Tensor) -> torch.Tensor:
    lists = [row.nonzero().flatten().tolist() for row in targets]
    width = max(1, *map(len, lists))
    return torch.tensor([[*row, *[-1] * (width - len(row))] for row in lists])


CASES = {
    "random": lambda: (torch.randn(7, 33) * 3, torch.rand(7, 33) < 0.2),
    "no positive": lambda: (torch.randn(3, 9), torch.zeros(3, 9, dtype=torch.bool)),
    "all positive": lambda: (torch.randn(3, 9), torch.ones(3, 9, dtype=torch.bool)),
    "size 50": lambda: (torch.randn(4, 20).sign() * 50, torch.rand(4, 20) < 0.5),
    "size 100": lambda: (torch.randn(4, 20).sign() * 100, torch.rand(4, 20) < 0.5),
    "all right, size 100": lambda: (
        torch.tensor([[100.0, -100, -100, -100]]),
        torch.tensor([[True, False, False, False]]),
    ),
    "one class": lambda: (torch.randn(4, 1), torch.tensor([[True], [False], [True], [False]])),
    "absent classes": lambda: (
        torch.randn(5, 12).masked_fill(torch.rand(5, 12) < 0.4, -torch.inf),
        torch.rand(5, 12) < 0.3,
    ),
    "absent row": lambda: (torch.full((2, 4), -torch.inf), torch.zeros(2, 4, dtype=torch.bool)),
}


@pytest.mark.parametrize("case", CASES)
def test_dense_and_index_form_equal_the_definition(case):
    torch.manual_seed(0)
    scores, targets = CASES[case]()
    expected = oracle(scores, targets)
    dense = multilabel_loss(scores, targets)
    torch.testing.assert_close(dense.double(), expected, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(sparse_multilabel_loss(scores, index_form(targets)), dense)


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_autograd(case):
    torch.manual_seed(0)
    scores, targets = CASES[case]()
    weights = torch.randn(len(scores), dtype=torch.float64)
    leaves = [scores.double().requires_grad_() for _ in range(3)]
    (dense_autograd(leaves[0], targets) * weights).sum().backward()
    (multilabel_loss(leaves[1], targets) * weights).sum().backward()
    (sparse_multilabel_loss(leaves[2], index_form(targets)) * weights).sum().backward()
    expected = leaves[0].grad.nan_to_num(0)
    torch.testing.assert_close(leaves[1].grad, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(leaves[2].grad, expected, rtol=1e-12, atol=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch):
    scores, targets = torch.randn(50, 40), torch.rand(50, 40) < 0.1
    whole = multilabel_loss(scores, targets)
    monkeypatch.setattr("kexue.losses.multilabel._CPU_BLOCK", 7 * 40)
    torch.testing.assert_close(multilabel_loss(scores, targets), whole, rtol=0, atol=0)


def test_confident_right_answer_has_no_loss_where_the_subtracting_form_saturates():
    """One positive at 20, 99 negatives at -20: subtracting the positive in float32 gives 3.88."""
    scores = torch.full((1, 100), -20.0)
    scores[0, 7] = 20.0
    scores.requires_grad_()
    loss = sparse_multilabel_loss(scores, torch.tensor([[7]]))
    loss.sum().backward()
    assert loss.item() < 3e-7
    assert scores.grad.abs().sum() < 3e-7


def test_published_trap_value():
    """Three positives at 30 and 997 negatives at -20: the loss is 2.06e-6."""
    scores = torch.full((1, 1000), -20.0, dtype=torch.float64)
    scores[0, :3] = 30.0
    loss = sparse_multilabel_loss(scores, torch.tensor([[0, 1, 2]]))
    assert loss.item() == pytest.approx(997 * math.exp(-20), rel=1e-3)


def test_repeated_and_padded_indices():
    scores = torch.randn(2, 6)
    plain = sparse_multilabel_loss(scores, torch.tensor([[1, 4], [2, -1]]))
    noisy = sparse_multilabel_loss(scores, torch.tensor([[4, 1, -1, 4], [-1, 2, -1, 2]]))
    torch.testing.assert_close(noisy, plain)


def test_optimum_of_soft_labels_is_sigmoid_of_twice_the_score():
    targets = torch.tensor([[0.9, 0.5, 0.2, 0.03]], dtype=torch.float64)
    scores = torch.zeros_like(targets).requires_grad_()
    search = torch.optim.LBFGS(
        [scores], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def closure():
        search.zero_grad()
        loss = multilabel_loss(scores, targets).sum()
        loss.backward()
        return loss

    search.step(closure)
    torch.testing.assert_close(torch.sigmoid(2 * scores.detach()), targets, rtol=0, atol=1e-5)


def test_soft_form_with_zeros_and_ones_is_the_hard_form():
    scores = torch.randn(5, 9).masked_fill(torch.rand(5, 9) < 0.2, -torch.inf)
    targets = torch.rand(5, 9) < 0.4
    soft_scores = scores.clone().requires_grad_()
    soft = multilabel_loss(soft_scores, targets.float())
    torch.testing.assert_close(soft, multilabel_loss(scores, targets))
    soft.sum().backward()
    assert soft_scores.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    scores = (torch.randn(4, 300) * 20).to(dtype).requires_grad_()
    targets = torch.rand(4, 300) < 0.05
    loss = multilabel_loss(scores, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss.double(), oracle(scores.detach(), targets), rtol=1e-5, atol=1e-5
    )
    loss.mean().backward()
    assert scores.grad.dtype == dtype
    assert scores.grad.isfinite().all()


def test_a_graph_can_be_walked_twice():
    scores = torch.randn(3, 5).requires_grad_()
    loss = multilabel_loss(scores, torch.rand(3, 5) < 0.5).sum()
    loss.backward(retain_graph=True)
    once = scores.grad.clone()
    loss.backward()
    torch.testing.assert_close(scores.grad, 2 * once)


def test_leading_axes_and_class_order_do_not_matter():
    scores, targets = torch.randn(2, 3, 8), torch.rand(2, 3, 8) < 0.3
    loss = multilabel_loss(scores, targets)
    assert loss.shape == (2, 3)
    order = torch.randperm(8)
    torch.testing.assert_close(multilabel_loss(scores[..., order], targets[..., order]), loss)


def test_it_is_not_cross_entropy_of_one_class_but_bounds_it():
    """With one positive it is two logarithms, at least the cross-entropy with a class of 0."""
    scores = torch.randn(20, 6)
    targets = F.one_hot(torch.arange(20) % 6, 6).bool()
    with_zero = torch.cat((scores, torch.zeros(20, 1)), 1)
    cross = F.cross_entropy(with_zero, torch.arange(20) % 6, reduction="none")
    assert (multilabel_loss(scores, targets) >= cross - 1e-5).all()


def test_positive_part_leaves_absent_scores_out():
    value, slope = positive_part(torch.tensor([-torch.inf, 1.0]), torch.tensor([0, 0]), 1)
    assert value.item() == pytest.approx(math.log1p(math.exp(-1)))
    assert slope[0] == 0


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match="the shape of scores"):
        multilabel_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="leading axes"):
        sparse_multilabel_loss(torch.zeros(2, 3), torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match=r"-1 \(padding\) to 2"):
        sparse_multilabel_loss(torch.zeros(1, 3), torch.tensor([[3]]))
