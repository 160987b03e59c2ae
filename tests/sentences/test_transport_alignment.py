import json

import numpy as np
import pytest
import torch

from kexue.sentences.transport import wmd, wrd
from kexue.sentences.transport_alignment import transport_plan

X_WORDS, Y_WORDS = ["今天", "天气", "很好"], ["今日", "气候", "不错", "，"]


def sentence(n, *, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 5))


@pytest.fixture
def plan():
    return transport_plan(sentence(3), sentence(4, seed=1), words=(X_WORDS, Y_WORDS))


@pytest.mark.parametrize(("distance", "exact"), [("wmd", wmd), ("wrd", wrd)])
def test_the_plan_carries_one_sentence_to_the_other_at_the_distance(distance, exact):
    x, y = sentence(6), sentence(4, seed=1)
    plan = transport_plan(x, y, distance=distance)
    assert plan.value == pytest.approx(exact(x, y), abs=1e-15)
    assert (plan.plan * plan.cost).sum() == pytest.approx(plan.value, abs=1e-12)
    for side, vectors in ((plan.plan.sum(1), x), (plan.plan.sum(0), y)):
        weights = np.linalg.norm(vectors, axis=1) if distance == "wrd" else np.ones(len(vectors))
        np.testing.assert_allclose(side, weights / weights.sum())


def test_words_that_are_the_same_are_matched():
    x = sentence(5)
    order = [3, 0, 4, 1, 2]
    for distance in ("wmd", "wrd"):
        flows = transport_plan(x, x[order], distance=distance).flows()
        assert [(flow.x, order[flow.y]) for flow in flows] == [(i, i) for i in range(5)]
        assert all(flow.cost == 0 for flow in flows)


def test_flows_are_the_plan_in_order(plan):
    flows = plan.flows()
    table = np.zeros((3, 4))
    for flow in flows:
        table[flow.x, flow.y] = flow.mass
        assert flow.cost == plan.cost[flow.x, flow.y]
    np.testing.assert_array_equal(table, plan.plan)
    assert flows == sorted(flows, key=lambda flow: (flow.x, -flow.mass))
    assert len(flows) <= 3 + 4 - 1


def test_it_prints_as_an_alignment(plan):
    lines = str(plan).splitlines()
    assert lines[0] == f"Word Mover's Distance {plan.value:.4f}"
    assert lines[1].split() == ["mass", "cost"]
    assert len(lines) == 2 + len(plan.flows())
    total = 0
    for line, flow in zip(lines[2:], plan.flows(), strict=True):
        mass, cost, source, arrow, target = line.split()
        assert (source, arrow, target) == (X_WORDS[flow.x], "→", Y_WORDS[flow.y])
        total += float(mass) * float(cost)
    assert total == pytest.approx(plan.value, abs=0.01)
    assert repr(plan) == f"TransportPlan(wmd {plan.value:.6g}, 3 x 4 words)"
    rotated = transport_plan(sentence(2), sentence(2, seed=1), distance="wrd")
    assert str(rotated).startswith("Word Rotator's Distance ")
    assert "  0 → " in str(rotated)


def test_a_json_object_says_the_same(plan):
    told = json.loads(json.dumps(plan.to_dict()))
    assert told["distance"] == "wmd"
    assert told["value"] == plan.value
    for flow, expected in zip(told["flows"], plan.flows(), strict=True):
        assert flow.pop("x_word") == X_WORDS[expected.x]
        assert flow.pop("y_word") == Y_WORDS[expected.y]
        assert flow == expected._asdict()


def test_masked_words_keep_their_places():
    x, y = sentence(5), sentence(4, seed=1)
    mask = np.array([False, True, True, False, True])
    plan = transport_plan(x, y, x_mask=mask, words=("abcde", "wxyz"))
    assert plan.plan.shape == (5, 4)
    assert not plan.plan[~mask].any()
    assert {flow.x for flow in plan.flows()} == {1, 2, 4}
    np.testing.assert_allclose(plan.plan[mask].sum(), 1)


def test_counts_and_tensors():
    x, y = sentence(3), sentence(4, seed=1)
    counts = torch.tensor([1, 2, 1])
    tensors = torch.tensor(x, requires_grad=True), torch.tensor(y)
    plan = transport_plan(*tensors, x_weights=counts)
    np.testing.assert_allclose(plan.plan.sum(1), [0.25, 0.5, 0.25])
    assert isinstance(plan.plan, np.ndarray)
    assert plan.value == pytest.approx(wmd(x, y, x_weights=counts))


def test_it_is_drawn(plan, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert plan.draw(tmp_path / "plan.png") == tmp_path / "plan.png"
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_it_cannot_be_changed(plan):
    with pytest.raises(AttributeError):
        plan.value = 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": (["a"], Y_WORDS)}, "words is '1 for x'; allowed: 3, one for each vector of x"),
        ({"words": (X_WORDS, ["a"])}, "words is '1 for y'; allowed: 4"),
        ({"distance": "emd"}, "distance is 'emd'"),
        ({"x_mask": [False] * 3}, "x is 'empty"),
    ],
)
def test_mistakes_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        transport_plan(sentence(3), sentence(4), **options)
