import pytest
import torch

from kexue.heads.decoding import (
    Found,
    ScoredSpan,
    found_in_factors,
    found_in_matrices,
    group_by_text,
)
from kexue.heads.factorised import Factors


def random_factors(texts=2, length=7, types=3, size=4):
    torch.manual_seed(0)
    return Factors(
        torch.randn(texts, length, size),
        torch.randn(texts, length, size),
        torch.randn(texts, length, types),
        torch.randn(texts, length, types),
    )


def cells(found):
    return sorted(zip(*(part.tolist() for part in found[:4]), strict=True))


@pytest.mark.parametrize("level", [-100.0, 0.0, 1.5, 100.0])
def test_factors_give_every_cell_above_its_threshold(level):
    factors = random_factors()
    valid = torch.ones(2, 7, dtype=torch.bool)
    valid[1, 4:] = False
    limits = torch.tensor([level, level + 0.5, level - 0.5])
    expected = []
    for text in range(2):
        for i in range(7):
            for j in range(i, 7):
                for kind in range(3):
                    score = (factors.query[text, i] @ factors.key[text, j]).item()
                    score += (factors.start[text, i, kind] + factors.end[text, j, kind]).item()
                    if valid[text, i] and valid[text, j] and score > limits[kind]:
                        expected.append((text, kind, i, j))
    assert cells(found_in_factors(factors, valid, limits)) == sorted(expected)


@pytest.mark.parametrize("level", [-100.0, 0.0, 1.5])
def test_matrices_give_every_cell_above_its_threshold(level):
    torch.manual_seed(0)
    query, key = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)
    valid = torch.ones(2, 7, dtype=torch.bool)
    valid[0, 5:] = False
    limits = torch.tensor([level, level + 0.5, level - 0.5])
    score = query @ key.mT
    exists = (valid[:, :, None] & valid[:, None]).triu()[:, None]
    above = (score > limits[:, None, None]) & exists
    expected = sorted(map(tuple, above.nonzero().tolist()))
    assert cells(found_in_matrices(query, key, valid, limits)) == expected


def test_a_text_without_tokens_has_no_cells():
    factors = random_factors(texts=1)
    none = torch.zeros(1, 7, dtype=torch.bool)
    assert cells(found_in_factors(factors, none, torch.full((3,), -100.0))) == []


def test_the_limit_goes_by_distance_from_the_threshold():
    columns = ([0, 0, 0], [0, 1, 0], [0, 2, 4], [1, 3, 4])
    found = Found(*(torch.tensor(c) for c in columns), torch.tensor([1.0, 1.5, 0.9]))
    spans = group_by_text([found], 1, torch.tensor([0.0, 1.2]), flat=False, limit=2)
    assert [span[:3] for span in spans[0]] == [(0, 0, 1), (0, 4, 4)]
    assert isinstance(spans[0][0], ScoredSpan)
