import pytest
import torch

from kexue.heads.factorised import Factors, factorised_loss


def direct(factors: Factors, spans: torch.Tensor) -> torch.Tensor:
    """The loss from all scores in float64, cell by cell through logsumexp."""
    query, key, start, end = (part.double() for part in factors)
    scores = (query @ key.mT)[:, None] + start.mT[..., None] + end.mT[:, :, None]
    length = scores.shape[-1]
    below = torch.ones(length, length, dtype=torch.bool).tril(-1)
    scores = scores.masked_fill(below, -torch.inf)
    losses = []
    for text in range(len(scores)):
        total = scores.new_zeros(())
        for kind in range(scores.shape[1]):
            cells = {(i, j) for t, a, i, j in spans.tolist() if (t, a) == (text, kind)}
            negative = [scores.new_zeros(())]
            positive = [scores.new_zeros(())]
            for i in range(length):
                for j in range(i, length):
                    if (i, j) in cells:
                        positive.append(-scores[text, kind, i, j])
                    else:
                        negative.append(scores[text, kind, i, j])
            total = total + torch.stack(negative).logsumexp(0) + torch.stack(positive).logsumexp(0)
        losses.append(total)
    return torch.stack(losses)


def factors_of_size(shared: float, biased: float, *, length: int = 12, seed: int = 0) -> Factors:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return Factors(
        draw(2, length, 4).sign() * shared**0.5 / 2,
        draw(2, length, 4).sign() * shared**0.5 / 2,
        draw(2, length, 3).sign() * biased / 2,
        draw(2, length, 3).sign() * biased / 2,
    )


SPANS = torch.tensor([[0, 0, 1, 4], [0, 0, 1, 7], [0, 2, 0, 11], [1, 1, 5, 5]])


@pytest.mark.parametrize("shared", [0.0, 10.0, 100.0, 400.0])
@pytest.mark.parametrize("biased", [0.0, 10.0, 100.0, 400.0])
def test_float32_equals_float64_at_any_size_of_the_factors(shared, biased):
    """Large factors of opposite sign cancel in the score: a product of exponentials alone fails."""
    factors = factors_of_size(shared, biased)
    leaves = Factors(*(part.double().requires_grad_() for part in factors))
    expected = direct(leaves, SPANS)
    expected.sum().backward()
    loss, slopes = factorised_loss(Factors(*(part.clone() for part in factors)), SPANS)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    for slope, leaf in zip(slopes, leaves, strict=True):
        scale = leaf.grad.abs().max().item()
        torch.testing.assert_close(slope.double(), leaf.grad, rtol=1e-3, atol=1e-5 * scale + 1e-7)


def test_the_row_by_row_fallback_is_reached():
    """Peaks of e and c in different columns, 200 apart: every product of the pair underflows."""
    query, key = torch.ones(1, 2, 1) * 10, torch.tensor([[[10.0], [-10.0]]])
    end = torch.tensor([[[-100.0], [100.0]]])
    factors = Factors(query, key, torch.full((1, 2, 1), 50.0), end)
    loss, _ = factorised_loss(Factors(*(part.clone() for part in factors)), SPANS[:0])
    torch.testing.assert_close(loss.double(), direct(factors, SPANS[:0]))
    assert 50 < loss.item() < 52


def test_a_type_whose_every_cell_is_positive():
    factors = factors_of_size(10.0, 10.0, length=2)
    spans = torch.tensor([[0, 1, 0, 0], [0, 1, 0, 1], [0, 1, 1, 1]])
    loss, slopes = factorised_loss(Factors(*(part.clone() for part in factors)), spans)
    torch.testing.assert_close(loss.double(), direct(factors, spans), rtol=1e-6, atol=1e-6)
    assert all(slope.isfinite().all() for slope in slopes)
