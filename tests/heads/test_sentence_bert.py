import pytest
import torch

from kexue.heads.sentence_bert import PairClassifier, pair_features


def pair(dtype=torch.float64, rows=4, width=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, rows, width, generator=generator, dtype=torch.float64).to(dtype).unbind()


def test_features_are_both_vectors_and_the_size_of_their_difference():
    u, v = pair()
    for row, a, b in zip(pair_features(u, v).tolist(), u.tolist(), v.tolist(), strict=True):
        assert row == [*a, *b, *(abs(x - y) for x, y in zip(a, b, strict=True))]
    assert pair_features(u.reshape(2, 2, 3), v.reshape(2, 2, 3)).shape == (2, 2, 9)


def test_scores_and_loss_are_the_definition():
    u, v = pair()
    head = PairClassifier(3, 2).double()
    (weight,) = head.parameters()
    scores = torch.stack(
        [weight @ torch.cat((a, b, (a - b).abs())) for a, b in zip(u, v, strict=True)]
    )
    torch.testing.assert_close(head(u, v), scores)
    labels = torch.tensor([1, 0, -100, 1])
    kept = [0, 1, 3]
    expected = -(scores.log_softmax(1)[kept, labels[kept]]).mean()
    torch.testing.assert_close(head.loss(u, v, labels), expected)


def test_the_difference_alone_does_not_know_the_order():
    u, v = pair()
    head = PairClassifier(3, 2).double()
    assert not torch.allclose(head(u, v), head(v, u))
    with torch.no_grad():
        head.score.weight[:, :6] = 0
    torch.testing.assert_close(head(u, v), head(v, u))
    torch.testing.assert_close(head(u, u), torch.zeros(4, 2, dtype=torch.float64))


def test_gradients():
    u, v = (x.requires_grad_() for x in pair())
    head = PairClassifier(3, 2, bias=True).double()
    labels = torch.tensor([1, 0, 0, 1])
    assert torch.autograd.gradcheck(lambda u, v: head.loss(u, v, labels), (u, v))


def test_it_learns_whether_two_vectors_are_near():
    torch.manual_seed(0)
    u = torch.randn(400, 6)
    near = torch.rand(400) < 0.5
    v = torch.where(near[:, None], u + 0.1 * torch.randn(400, 6), torch.randn(400, 6))
    head = PairClassifier(6, 2, bias=True)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        head.loss(u, v, near.long()).backward()
        optimizer.step()
    assert (head(u, v).argmax(1) == near).float().mean() > 0.97


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    u, v = pair(dtype)
    head = PairClassifier(3, 2).to(dtype)
    assert head(u, v).dtype == dtype
    loss = head.loss(u, v, torch.zeros(4, dtype=torch.long))
    assert loss.dtype == torch.float32
    loss.backward()


def test_an_error_says_what_to_type():
    with pytest.raises(ValueError, match=r"v is \(3, 4\); allowed: the shape of u \(2, 4\)"):
        pair_features(torch.ones(2, 4), torch.ones(3, 4))
