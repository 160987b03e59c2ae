import pytest
import torch

from kexue.analysis.gradient_path import GradientPath

HALF = torch.full((4,), 0.5)


def cube(x):
    return (x**3).flatten(1).sum(1)


def make(x, *, f=cube, baseline=None, given=(), chunk_size=3):
    return GradientPath(f, x, baseline, given, chunk_size)


def test_gradients_and_scores_are_those_of_the_points():
    torch.manual_seed(0)
    x, baseline = torch.randn(4, 2, 3).double(), torch.randn(2, 3).double()
    places, chosen = torch.tensor([0.25, 0.5, 0.75, 0.0]), torch.tensor([3, 1, 3, 0])
    slopes, scores = make(x, baseline=baseline).evaluate(places, chosen)
    for n, (at, row) in enumerate(zip(places, chosen, strict=True)):
        point = baseline + at * (x[row] - baseline)
        torch.testing.assert_close(slopes[n], 3 * point**2)
        torch.testing.assert_close(scores[n], (point**3).sum())


def test_never_more_points_than_asked_for_go_through_at_once():
    seen = []

    def f(x):
        seen.append(len(x))
        return cube(x)

    path = make(torch.ones(5, 2), f=f, chunk_size=4)
    path.ends()
    path.evaluate(torch.linspace(0.1, 0.9, 15), torch.arange(5).repeat(3))
    assert max(seen) == 4
    assert sum(seen) == 5 + 5 + 15


def test_what_is_given_goes_with_its_input():
    factor = torch.tensor([1.0, 10.0, 100.0])
    path = make(torch.ones(3, 2), f=lambda x, by: by * x.sum(1), given=[factor], chunk_size=2)
    slopes, _ = path.evaluate(HALF[:2], torch.tensor([2, 0]))
    assert slopes[:, 0].tolist() == [100, 1]
    assert path.ends()[0].tolist() == [2, 20, 200]
    assert path.of(torch.tensor([1])).ends()[0].tolist() == [20]


def test_inputs_and_grad_mode_are_left_alone():
    x = torch.ones(2, 2, requires_grad=True)
    with torch.no_grad():
        slopes, scores = make(x).evaluate(HALF[:2], torch.arange(2))
        assert not torch.is_grad_enabled()
    assert x.grad is None
    assert not slopes.requires_grad
    assert not scores.requires_grad


def test_inference_mode_is_no_hindrance():
    with torch.inference_mode():
        x, weight = torch.ones(2, 2), torch.tensor([2.0, 3.0])
        path = make(x, f=lambda x, w: w * x.sum(1) ** 2, given=[weight])
        slopes, _ = path.evaluate(2 * HALF[:2], torch.arange(2))
        path.ends()
    assert slopes[:, 0].tolist() == [8, 12]


def test_half_precision_goes_through_and_wide_numbers_come_out():
    kinds = []

    def f(x):
        kinds.append(x.dtype)
        return cube(x)

    slopes, scores = make(torch.ones(1, 2).bfloat16(), f=f).evaluate(
        HALF[:1], torch.zeros(1).long()
    )
    assert kinds == [torch.bfloat16]
    assert slopes.dtype == scores.dtype == torch.float32


@pytest.mark.parametrize("f", [lambda x: x.detach().sum(1), lambda x: x.argmax(1).float()])
def test_scores_that_do_not_depend_on_the_points_are_named(f):
    with pytest.raises(ValueError, match="do not depend on its inputs by autograd"):
        make(torch.ones(2, 2), f=f).evaluate(HALF[:2], torch.arange(2))


def test_scores_that_depend_on_parameters_alone_are_named():
    weight = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="do not depend on its inputs by autograd"):
        make(torch.ones(2, 2), f=lambda _: weight * 2).evaluate(HALF[:2], torch.arange(2))


def test_one_score_for_all_inputs_is_refused():
    with pytest.raises(ValueError, match=r"gives \(\).; allowed: \[n\], one for each"):
        make(torch.ones(2, 2), f=torch.sum).ends()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"baseline is \(3,\); allowed: a shape that broadcasts"):
        make(torch.ones(2, 2), baseline=torch.ones(3))
    with pytest.raises(ValueError, match="given is 'a tensor \\(3, 1\\)'; allowed: tensors of 2"):
        make(torch.ones(2, 2), given=[torch.ones(3, 1)])
