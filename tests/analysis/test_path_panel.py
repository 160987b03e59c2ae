from itertools import pairwise

import numpy as np
import pytest
import torch

from kexue.analysis.path_panel import Panel


def fill(panel, slope, score):
    places = panel.fresh
    along = np.array([slope(place) for place in places])
    panel.take(
        torch.from_numpy(along)[:, None], along, np.array([score(place) for place in places])
    )
    return panel


def refine(panel, slope, score):
    (finer,) = panel.refined()
    return fill(finer, slope, score)


def test_a_stretch_is_integrated_between_its_ends():
    panel = fill(Panel(0.5, 2.0, 0.25, 4.0), lambda a: 2 * a, lambda a: a * a)
    assert ((panel.fresh[::2] > 0.5) & (panel.fresh[::2] < 2.0)).all()
    assert panel.integral().item() == pytest.approx(3.75)
    assert abs(panel.gap) < 1e-14
    assert np.abs(panel.astray).max() < 1e-14
    assert panel.error < 1e-14


def test_finer_panels_keep_what_is_known():
    first = fill(Panel(0.0, 1.0, 1.0, np.e), np.exp, np.exp)
    (finer,) = first.refined()
    assert len(first.along) == 5
    assert len(finer.fresh) == 6
    assert not set(finer.fresh.round(9)) & set(first.fresh.round(9))
    finer = fill(finer, np.exp, np.exp)
    nodes = finer.rule.nodes
    np.testing.assert_allclose(finer.along, np.exp(nodes))
    np.testing.assert_allclose(finer.scores, np.exp(nodes))
    np.testing.assert_allclose(finer.slopes[:, 0], np.exp(nodes))
    assert finer.before == first.error
    assert finer.error < first.error / 100


def test_asking_for_more_leaves_the_panel_as_it_was():
    panel = fill(Panel(0.0, 1.0, 1.0, np.e), np.exp, np.exp)
    before = panel.gap
    panel.refined()
    assert panel.intervals == 6
    assert panel.gap == before


def test_the_error_tells_of_what_happens_on_the_way():
    """The slope is even about the middle, the score that is told is not."""
    panel = fill(
        Panel(0.0, 1.0, 0.0, 1.0), lambda _: 1.0, lambda a: a + 0.5 * np.sin(2 * np.pi * a)
    )
    assert abs(panel.gap) < 1e-14
    assert panel.error > 0.05


def test_a_panel_that_does_not_gain_is_cut_around_the_worst_place():
    def score(a):
        return float(a > 0.4)

    panel = refine(fill(Panel(0.0, 1.0, 0.0, 1.0), lambda _: 0.0, score), lambda _: 0.0, score)
    parts = panel.refined()
    assert [part.intervals for part in parts] == [6, 6, 6]
    assert (parts[0].start, parts[-1].end) == (0.0, 1.0)
    assert parts[1].start < 0.4 < parts[1].end
    assert [(part.low, part.high) for part in parts] == [(0, 0), (0, 1), (1, 1)]
    assert all(a.end == b.start for a, b in pairwise(parts))


@pytest.mark.parametrize(("jump", "count", "short"), [(1e-4, 2, 0), (0.9999, 2, 1)])
def test_a_jump_at_an_end_is_cut_off_in_one(jump, count, short):
    def score(a):
        return float(a > jump)

    panel = refine(fill(Panel(0.0, 1.0, 0.0, 1.0), lambda _: 0.0, score), lambda _: 0.0, score)
    parts = panel.refined()
    assert len(parts) == count
    assert parts[short].end - parts[short].start < 0.02


def test_a_panel_that_gains_is_not_cut():
    panel = fill(
        Panel(0.0, 1.0, 0.0, np.sin(9.0)), lambda a: 9 * np.cos(9 * a), lambda a: np.sin(9 * a)
    )
    for _ in range(2):
        panel = refine(panel, lambda a: 9 * np.cos(9 * a), lambda a: np.sin(9 * a))
    assert panel.intervals == 24
    assert panel.error < 1e-9
