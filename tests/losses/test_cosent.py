import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.losses.cosent import cosent_loss


def definition(cosines, labels, scale=20.0):
    """The sum over all pairs in plain float64 arithmetic, shifted so that nothing overflows."""
    c, y = cosines.double().tolist(), labels.tolist()
    terms = [0.0]
    for i in range(len(c)):
        for j in range(len(c)):
            if y[i] > y[j]:
                terms.append(scale * (c[j] - c[i]))
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms))


def all_pairs(cosines, labels, scale=20.0):
    """The same through logsumexp, differentiated by autograd."""
    differences = scale * (cosines[None, :] - cosines[:, None])
    asked = labels[:, None] > labels[None, :]
    terms = differences.masked_fill(~asked, -torch.inf).flatten()
    return torch.cat((terms, terms.new_zeros(1))).logsumexp(0)


def pairs(count, kinds, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cosines = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    return cosines.to(dtype), torch.randint(kinds, (count,), generator=generator)


CASES = {
    "no pair": lambda: pairs(0, 2),
    "one pair": lambda: pairs(1, 2),
    "two kinds": lambda: pairs(40, 2),
    "five kinds": lambda: pairs(100, 5),
    "all labels differ": lambda: (pairs(50, 2)[0], torch.randperm(50)),
    "all labels equal": lambda: pairs(20, 1),
    "labels with fractions": lambda: (pairs(30, 2)[0], pairs(30, 2, seed=1)[0].round(decimals=1)),
    "equal cosines": lambda: (torch.full((12,), 0.3, dtype=torch.float64), pairs(12, 3)[1]),
    "true and false": lambda: (pairs(12, 2)[0], pairs(12, 2)[1].bool()),
}


@pytest.mark.parametrize("scale", [1.0, 20.0, 500.0])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_equal_the_sum_over_all_pairs(case, scale):
    torch.manual_seed(0)
    cosines, labels = CASES[case]()
    ours, theirs = (cosines.clone().requires_grad_() for _ in range(2))
    loss, expected = cosent_loss(ours, labels, scale=scale), all_pairs(theirs, labels, scale)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(definition(cosines, labels, scale), abs=1e-9)
    (3 * loss).backward()
    (3 * expected).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)


def test_gradcheck():
    cosines, labels = pairs(17, 4)
    assert torch.autograd.gradcheck(lambda c: cosent_loss(c, labels), cosines.requires_grad_())


@given(
    st.lists(
        st.tuples(st.integers(-5, 5).map(lambda n: n / 5), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_any_ties(drawn):
    cosines = torch.tensor([cosine for cosine, _ in drawn], dtype=torch.float64)
    labels = torch.tensor([label for _, label in drawn])
    expected = definition(cosines, labels)
    assert cosent_loss(cosines, labels).item() == pytest.approx(expected, abs=1e-9)


def test_labels_a_hair_apart_are_no_tie():
    """Float labels are compared exactly, and equal ones ask for nothing at any size."""
    cosines = torch.tensor([0.2, 0.9])
    apart = torch.tensor([1.0, 1.0 + 2**-23])
    assert cosent_loss(cosines.flip(0), apart).item() == pytest.approx(14.0, rel=1e-5)
    assert cosent_loss(cosines, torch.tensor([1.0, 1.0])) == 0


def test_only_the_order_of_labels_counts():
    cosines, labels = pairs(60, 6)
    loss = cosent_loss(cosines, labels)
    torch.testing.assert_close(cosent_loss(cosines, labels.double().exp() - 7), loss)
    order = torch.randperm(60)
    torch.testing.assert_close(cosent_loss(cosines[order], labels[order]), loss)


def test_a_shift_of_all_cosines_changes_nothing_and_the_gradient_sums_to_zero():
    cosines, labels = pairs(60, 6)
    leaf = cosines.requires_grad_()
    loss = cosent_loss(leaf, labels)
    torch.testing.assert_close(cosent_loss(cosines + 0.25, labels), loss)
    loss.backward()
    assert leaf.grad.sum().abs() < 1e-12


def test_steps_down_the_gradient_bring_the_order_of_the_labels():
    torch.manual_seed(0)
    labels = torch.randint(4, (40,))
    cosines = torch.rand(40).requires_grad_()
    before = cosent_loss(cosines, labels)
    for _ in range(2000):
        (slope,) = torch.autograd.grad(cosent_loss(cosines, labels), cosines)
        cosines = (cosines - 2e-3 * slope).detach().requires_grad_()
    assert cosent_loss(cosines, labels) < 0.01 * before
    lowest = [cosines[labels == kind].min() for kind in (1, 2, 3)]
    highest = [cosines[labels == kind].max() for kind in (0, 1, 2)]
    assert all(low > high for low, high in zip(lowest, highest, strict=True))


@pytest.mark.parametrize("scale", [20.0, 1e4])
def test_thousands_of_pairs_in_float32_stay_near_float64(scale):
    cosines, labels = pairs(5000, 6)
    exact, single = cosines.requires_grad_(), cosines.detach().float().requires_grad_()
    loss, rounded = (
        cosent_loss(exact, labels, scale=scale),
        cosent_loss(single, labels, scale=scale),
    )
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(loss.item(), rel=2e-6)
    loss.backward()
    rounded.backward()
    near = 1e-5 if scale == 20.0 else 0.05  # one bit of 1e4 is worth a thousandth of e^x
    assert (single.grad - exact.grad).abs().max() < near * exact.grad.abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    cosines, labels = pairs(64, 6, dtype=dtype)
    leaf = cosines.requires_grad_()
    loss = cosent_loss(leaf, labels.to(dtype))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(definition(leaf.detach(), labels), abs=1e-4)
    loss.backward()
    assert leaf.grad.dtype == dtype
    exact = leaf.detach().double().requires_grad_()
    all_pairs(exact, labels).backward()
    near = torch.finfo(dtype).eps * 20
    torch.testing.assert_close(leaf.grad.double(), exact.grad, rtol=0, atol=near)


def test_a_graph_can_be_walked_twice():
    cosines, labels = pairs(9, 3)
    leaf = cosines.requires_grad_()
    loss = cosent_loss(leaf, labels)
    loss.backward(retain_graph=True)
    once = leaf.grad.clone()
    loss.backward()
    torch.testing.assert_close(leaf.grad, 2 * once)


@pytest.mark.parametrize(
    ("cosines", "labels", "options", "message"),
    [
        (torch.zeros(3), torch.zeros(4), {}, r"labels is '\(4,\) for cosines \(3,\)'"),
        (torch.zeros(2, 3), torch.zeros(2, 3), {}, r"allowed: \[n\] for cosines \[n\]"),
        (torch.zeros(3), torch.zeros(3), {"scale": 0.0}, "scale is 0.0; allowed: a positive"),
    ],
)
def test_errors_say_what_to_type(cosines, labels, options, message):
    with pytest.raises(ValueError, match=message):
        cosent_loss(cosines, labels, **options)
