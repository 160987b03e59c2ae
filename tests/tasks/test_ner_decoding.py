import pytest
import torch

from kexue.tasks.ner_decoding import find_everywhere, find_spans, without_overlap
from kexue.tasks.ner_model import EntitySettings, build

TEXTS = ["王小明在北京工作。", "", "He works in Beijing.", "上海" * 60]


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    settings = EntitySettings(encoder="scratch", layers=1, width=64, window=32, overlap=8)
    model, tokenizer = build(settings, TEXTS * 2, ["person", "place"])
    return model.eval(), tokenizer


def test_stretches_of_texts_change_nothing(parts):
    whole = list(find_spans(*parts, TEXTS * 40, batch_size=1))
    one = list(find_spans(*parts, TEXTS, batch_size=64))
    assert len(whole) == 160
    for i, spans in enumerate(whole):
        assert [s[:3] for s in spans] == [s[:3] for s in one[i % 4]]


def test_spans_are_sorted_unique_and_inside_the_text(parts):
    for text, spans in zip(TEXTS, find_spans(*parts, TEXTS), strict=True):
        places = [span[:3] for span in spans]
        assert places == sorted(set(places))
        assert all(0 <= start < end <= len(text) for start, end, _ in places)


def test_a_lower_threshold_finds_more_and_never_less(parts):
    high = find_everywhere(*parts, TEXTS, thresholds=[0.5, 0.5])
    low = find_everywhere(*parts, TEXTS, thresholds=[-0.5, -0.5])
    for few, many in zip(high, low, strict=True):
        assert {s[:3] for s in few} <= {s[:3] for s in many}
    assert sum(map(len, high)) < sum(map(len, low))


def test_the_limit_bounds_a_window(parts):
    limited = list(find_spans(*parts, TEXTS[:1], thresholds=[-50.0, -50.0], limit=5))
    assert len(limited[0]) == 5


def overlapping(spans):
    return any(a[0] < b[1] and b[0] < a[1] for i, a in enumerate(spans) for b in spans[:i])


def test_a_flat_model_finds_no_overlapping_spans_unless_told(parts):
    model, tokenizer = parts
    low = {"thresholds": [-0.5, -0.5]}
    nested = list(find_spans(model, tokenizer, TEXTS, **low))
    assert any(map(overlapping, nested))
    model.config.flat = True
    try:
        flat = list(find_spans(model, tokenizer, TEXTS, **low))
        assert not any(map(overlapping, flat))
        assert any(flat)
        for few, many in zip(flat, nested, strict=True):
            assert {s[:3] for s in few} <= {s[:3] for s in many}
        again = list(find_spans(model, tokenizer, TEXTS, **low, flat=False))
        assert [[s[:3] for s in spans] for spans in again] == [
            [s[:3] for s in spans] for spans in nested
        ]
    finally:
        model.config.flat = False


def test_what_lies_furthest_above_its_own_threshold_is_kept():
    spans = [(0, 4, "name", 1.0), (2, 6, "place", 1.5)]
    assert without_overlap(spans, {"name": 0.0, "place": 0.0}) == [(2, 6, "place", 1.5)]
    assert without_overlap(spans, {"name": -1.0, "place": 1.0}) == [(0, 4, "name", 1.0)]
    assert without_overlap([], {}) == []
