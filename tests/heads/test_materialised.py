import pytest
import torch

from kexue.heads.materialised import matrix_loss
from kexue.losses import multilabel_loss


@pytest.mark.parametrize("length", [1, 5, 128, 150])
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_value_and_gradient_equal_the_dense_loss(length, size):
    torch.manual_seed(0)
    leaves = [torch.randn(3, length, 4, dtype=torch.float64) for _ in range(2)]
    leaves = [(leaf * size**0.5).requires_grad_() for leaf in leaves]
    valid = torch.ones(3, length, dtype=torch.bool)
    valid[2, (length + 1) // 2 :] = False
    spans = torch.tensor([[0, 0, length - 1], [0, 0, 0], [2, 0, 0]]).unique(dim=0)
    scores = leaves[0] @ leaves[1].mT
    exists = (valid[:, :, None] & valid[:, None]).triu()
    scores = scores.masked_fill(~exists, -torch.inf)
    targets = torch.zeros_like(exists)
    targets[tuple(spans.T)] = True
    expected = multilabel_loss(scores.flatten(1), targets.flatten(1))
    expected.sum().backward()
    loss, by_query, by_key = matrix_loss(*(leaf.detach() for leaf in leaves), valid, spans)
    torch.testing.assert_close(loss, expected)
    for slope, leaf in ((by_query, leaves[0]), (by_key, leaves[1])):
        kept = slope * valid[..., None]
        torch.testing.assert_close(kept, leaf.grad * valid[..., None], rtol=1e-9, atol=1e-11)
