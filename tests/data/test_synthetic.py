import random
import re

import pytest

from kexue.data.synthetic import LABELS, sample_records


@pytest.fixture(scope="module")
def train():
    return sample_records(1500, seed=0)


@pytest.fixture(scope="module")
def dev():
    return sample_records(400, seed=1)


def surface(record, entity):
    return record["text"][entity["start"] : entity["end"]]


def inside_another(entity, entities):
    return any(
        other is not entity and other["start"] <= entity["start"] and entity["end"] <= other["end"]
        for other in entities
    )


def dictionary_f1(train, dev):
    """Strict F1 of marking every known name, with the label it has most often in `train`."""
    counts = {}
    for record in train:
        for entity in record["entities"]:
            labels = counts.setdefault(surface(record, entity), {})
            labels[entity["label"]] = labels.get(entity["label"], 0) + 1
    names = {name: max(labels, key=labels.get) for name, labels in counts.items()}
    longest = max(map(len, names))
    true, predicted, gold = 0, 0, 0
    for record in dev:
        text = record["text"]
        found = {
            (start, end, names[text[start:end]])
            for start in range(len(text))
            for end in range(start + 1, min(start + longest, len(text)) + 1)
            if text[start:end] in names
        }
        known = {(e["start"], e["end"], e["label"]) for e in record["entities"]}
        true, predicted, gold = true + len(found & known), predicted + len(found), gold + len(known)
    return 2 * true / (predicted + gold)


@pytest.mark.parametrize("language", ["zh", "en", "mixed"])
def test_offsets_are_exact_and_every_span_is_a_name_without_blank_edges(language):
    for record in sample_records(300, language=language, seed=4):
        assert set(record) == {"text", "entities"}
        spans = [(e["start"], e["end"], e["label"]) for e in record["entities"]]
        assert len(set(spans)) == len(spans)
        assert spans == sorted(spans, key=lambda span: (span[0], -span[1]))
        for entity in record["entities"]:
            assert set(entity) == {"start", "end", "label"}
            assert 0 <= entity["start"] < entity["end"] <= len(record["text"])
            assert surface(record, entity) == surface(record, entity).strip()
            assert entity["label"] in LABELS
        assert "{" not in record["text"]
        assert record["text"][-1] in "。."


def test_spans_nest_but_never_cross(train):
    for record in train:
        for a in record["entities"]:
            for b in record["entities"]:
                assert not a["start"] < b["start"] < a["end"] < b["end"]


def test_about_three_in_ten_entities_lie_inside_another(train):
    entities = [(e, r["entities"]) for r in train for e in r["entities"]]
    share = sum(inside_another(e, all_of) for e, all_of in entities) / len(entities)
    assert 0.25 < share < 0.35


def test_every_label_is_frequent_and_occurs_inside_or_around_another(train):
    counts = dict.fromkeys(LABELS, 0)
    nested = set()
    for record in train:
        for entity in record["entities"]:
            counts[entity["label"]] += 1
            for other in record["entities"]:
                if other is not entity and inside_another(entity, [other]):
                    nested |= {entity["label"], other["label"]}
    assert min(counts.values()) > 0.05 * sum(counts.values())
    assert nested == set(LABELS)


def test_an_organization_contains_its_place():
    pairs = {
        (outer["label"], inner["label"])
        for record in sample_records(500, language="zh", seed=2)
        for outer in record["entities"]
        for inner in record["entities"]
        if inside_another(inner, [outer])
    }
    expected = {
        ("organization", "place"),
        ("organization", "person"),
        ("work", "person"),
        ("work", "place"),
        ("event", "date"),
        ("event", "organization"),
        ("place", "place"),
        ("organization", "organization"),
    }
    assert expected <= pairs


def test_a_dictionary_of_known_names_does_badly(train, dev):
    assert dictionary_f1(train, dev) < 0.3


def test_the_dictionary_baseline_can_do_well(dev):
    # the proof that the low score above comes from the names and not from the baseline
    text = dev[0]["text"]
    assert dictionary_f1(dev[:1], [{"text": text, "entities": dev[0]["entities"]}]) > 0.6


def test_most_names_of_another_seed_are_unseen(train, dev):
    known = {surface(r, e) for r in train for e in r["entities"] if e["label"] != "date"}
    names = {surface(r, e) for r in dev for e in r["entities"] if e["label"] != "date"}
    assert len(names - known) > 0.8 * len(names)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_same_name_has_different_labels_and_is_sometimes_no_entity(language):
    within, unmarked = 0, 0
    for record in sample_records(800, language=language, seed=5):
        labels = {}
        for entity in record["entities"]:
            labels.setdefault(surface(record, entity), set()).add(entity["label"])
        within += any(len(kinds) > 1 for kinds in labels.values())
        unmarked += any(
            record["text"].count(name) > sum(surface(record, e) == name for e in record["entities"])
            for name in labels
        )
    assert within > 20
    assert unmarked > 20


def test_lengths_go_from_short_to_several_windows(train):
    lengths = sorted(len(record["text"]) for record in train)
    assert lengths[0] < 12
    assert 30 < lengths[len(lengths) // 2] < 80
    assert lengths[-1] > 300


@pytest.mark.parametrize("language", ["zh", "en"])
def test_sentences_gives_that_many_in_each_text(language):
    for record in sample_records(50, language=language, seed=6, sentences=4):
        text = re.sub(r"\b(Dr|Mrs|[A-Z])\.", "", record["text"])
        assert text.count("。" if language == "zh" else ".") == 4


def test_the_seed_decides_everything():
    assert sample_records(50, seed=7) == sample_records(50, seed=7)
    assert sample_records(50, seed=7) != sample_records(50, seed=8)


def test_a_longer_sample_begins_with_the_shorter_one():
    assert sample_records(80, seed=7)[:30] == sample_records(30, seed=7)


def test_texts_are_all_different(train):
    assert len({record["text"] for record in train}) == len(train)


def test_languages_are_what_they_say():
    def chinese(record):
        return any("\u4e00" <= char <= "\u9fff" for char in record["text"])

    assert all(map(chinese, sample_records(100, language="zh")))
    assert not any(map(chinese, sample_records(100, language="en")))
    assert 60 < sum(map(chinese, sample_records(200))) < 140


def test_the_global_random_state_is_left_alone():
    before = random.getstate()
    sample_records(5)
    assert random.getstate() == before


def test_none_is_an_empty_list():
    assert sample_records(0) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": -1}, "count is -1"),
        ({"count": 1, "language": "fr"}, "language is 'fr'; allowed: 'zh', 'en' or 'mixed'"),
        ({"count": 1, "sentences": 0}, "sentences is 0"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        sample_records(**options)
