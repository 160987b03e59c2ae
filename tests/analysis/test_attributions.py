import json

import pytest
import torch

from kexue.analysis.attributions import Attributions


@pytest.fixture
def attributions():
    values = torch.tensor([[[3.0, -4.0], [0.0, 0.0]], [[1.0, 1.0], [-2.0, 0.0]]])
    return Attributions(
        values,
        score=torch.tensor([1.0, 2.0]),
        baseline_score=torch.tensor([2.0, 4.0]),
        gap=torch.tensor([0.0, -0.5]),
        steps=torch.tensor([5, 11]),
        converged=torch.tensor([True, False]),
    )


def test_signs_add_up_and_magnitudes_do_not_cancel(attributions):
    assert attributions.signed.tolist() == [[-1, 0], [2, -2]]
    assert attributions.magnitude[0].tolist() == [5, 0]
    assert attributions.magnitude[1, 1] == 2


def test_the_relative_gap_is_a_share_of_the_difference(attributions):
    assert attributions.relative_gap.tolist() == [0, 0.25]


def test_a_dict_is_json(attributions):
    found = json.loads(json.dumps(attributions.to_dict()))
    assert found["converged"] == [True, False]
    assert found["steps"] == [5, 11]
    assert found["values"][1][1] == [-2, 0]
