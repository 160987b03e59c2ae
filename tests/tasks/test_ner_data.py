import pytest

from kexue.data import Record
from kexue.tasks.ner_data import hold_out, labelled


def test_records_become_texts_with_spans():
    spans = [{"start": 0, "end": 2, "label": "place"}, {"start": 0, "end": 1, "label": "x"}]
    record = Record.model_validate({"text": "北京", "entities": spans})
    assert labelled([record]) == [("北京", [(0, 2, "place"), (0, 1, "x")])]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_the_share_is_met_and_nothing_is_lost(fraction):
    texts = [(f"text {i}", []) for i in range(200)]
    train, dev = hold_out(texts, fraction)
    assert len(dev) == round(200 * fraction)
    assert sorted(train + dev) == sorted(texts)
    assert train == [text for text in texts if text in train]


def test_the_same_text_never_falls_on_both_sides():
    texts = [(f"text {i % 20}", [(0, 1, str(i))]) for i in range(200)]
    train, dev = hold_out(texts, 0.3)
    assert not {text for text, _ in train} & {text for text, _ in dev}
    assert len(train) + len(dev) == 200


def test_the_split_does_not_depend_on_order_or_company():
    texts = [(f"text {i}", []) for i in range(100)]
    assert set(dict(hold_out(texts[::-1], 0.2)[1])) == set(dict(hold_out(texts, 0.2)[1]))


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match=r"such as 0\.1"):
        hold_out([("a", []), ("b", [])], 0)
    for texts in ([], [("a", [])], [("a", []), ("a", [])]):
        with pytest.raises(ValueError, match="--dev"):
            hold_out(texts, 0.5)
