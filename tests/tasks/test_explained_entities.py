from itertools import pairwise

import pytest
import torch

from kexue.data.synthetic import sample_records
from kexue.data.windows import cut_windows
from kexue.tasks.embedded_inputs import encoded_window
from kexue.tasks.explained_entities import entity_question
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_model import EntitySettings, build

TEXT = sample_records(1)[0]["text"]


def make(head, *, window=64, seed=0):
    texts = [record["text"] for record in sample_records(100)]
    torch.manual_seed(seed)
    settings = EntitySettings(
        encoder="scratch-characters", head=head, layers=1, width=64, window=window
    )
    return EntityRecognizer(*build(settings, texts, ["person", "place"]))


@pytest.fixture(scope="module", params=["efficient", "standard", "crf"])
def recognizer(request):
    return make(request.param)


@pytest.fixture(scope="module")
def pointer():
    return make("efficient")


def run(question):
    with torch.no_grad():
        return question.score(question.model(**question.encoded.inputs)).item()


@pytest.mark.parametrize("head", ["efficient", "standard"])
def test_the_score_is_that_of_the_whole_matrix(head):
    recognizer = make(head)
    question = entity_question(recognizer, TEXT, label="place", span=(1, 4))
    inputs = question.encoded.inputs
    with torch.no_grad():
        hidden = recognizer.model(**inputs).last_hidden_state
        keep = torch.tensor([[place is not None for place in question.encoded.places]])
        scores = recognizer.model.head(hidden, keep)
    starts = {place[1]: k for k, place in enumerate(question.encoded.places) if place}
    ends = {place[2]: k for k, place in enumerate(question.encoded.places) if place}
    assert run(question) == pytest.approx(2 * scores[0, 1, starts[1], ends[4]].item(), abs=1e-5)


def test_the_probability_is_that_of_the_recognizer(pointer):
    found = pointer([TEXT])[0]
    assert found, "an untrained model finds something"
    best = max(found, key=lambda entity: entity.score)
    question = entity_question(pointer, TEXT)
    assert (question.label, question.span) == (best.label, (best.start, best.end))
    assert torch.tensor(run(question)).sigmoid().item() == pytest.approx(best.score, abs=1e-5)
    assert question.target == "log-odds"


def test_the_surest_of_a_label_or_a_span(pointer):
    found = pointer([TEXT])[0]
    for label in {entity.label for entity in found}:
        best = max((e for e in found if e.label == label), key=lambda e: e.score)
        assert entity_question(pointer, TEXT, label=label).span == (best.start, best.end)
    one = found[0]
    at = [e for e in found if (e.start, e.end) == (one.start, one.end)]
    expected = max(at, key=lambda e: e.score).label
    assert entity_question(pointer, TEXT, span=(one.start, one.end)).label == expected


def log_likelihood_difference(recognizer, text, with_span, without):
    """What the CRF itself thinks of two sets of entities, in which the rest cancels."""
    question = entity_question(recognizer, text, label="place", span=(2, 4))
    keep = torch.tensor([[place is not None for place in question.encoded.places]])
    with torch.no_grad():
        hidden = recognizer.model(**question.encoded.inputs).last_hidden_state
        losses = [
            recognizer.model.head.loss(hidden, keep, [spans]) for spans in (with_span, without)
        ]
    return (losses[1] - losses[0]).item()


def test_the_score_of_a_crf_compares_two_taggings():
    recognizer = make("crf")
    question = entity_question(recognizer, TEXT, label="place", span=(2, 4))
    keep = torch.tensor([[place is not None for place in question.encoded.places]])
    (found,) = recognizer.model.decode(**question.encoded.inputs, span_mask=keep)
    # Special tokens come first, so token k + 1 is character k.
    others = [(s.type, s.start, s.end) for s in found if s.end < 3 or s.start > 4]
    expected = log_likelihood_difference(recognizer, TEXT, [*others, (1, 3, 4)], others)
    assert run(question) == pytest.approx(expected, abs=1e-4)


def test_the_score_of_a_crf_at_both_ends_of_a_text():
    recognizer = make("crf")
    text = TEXT[:4]
    question = entity_question(recognizer, text, label="person", span=(0, 4))
    keep = torch.tensor([[place is not None for place in question.encoded.places]])
    with torch.no_grad():
        hidden = recognizer.model(**question.encoded.inputs).last_hidden_state
        losses = [recognizer.model.head.loss(hidden, keep, [s]) for s in ([(0, 1, 4)], [])]
    assert run(question) == pytest.approx((losses[1] - losses[0]).item(), abs=1e-4)


def test_a_long_text_is_explained_where_the_span_lies_best():
    recognizer, text = make("efficient", window=20), TEXT * 8
    config = recognizer.model.config
    windows = list(cut_windows([text], recognizer.tokenizer, window=20, overlap=config.overlap))
    seen = 0
    for left, right in pairwise(windows):
        shared = sorted(set(left.starts) & set(right.starts) - {0})
        # At both ends of what they share, the span lies near the cut of one of the two.
        for start, best in ((shared[0], left), (shared[-1], right)):
            span = (start, start + 1)
            if not text[start].isspace() and span[1] in {*left.ends} & {*right.ends}:
                question = entity_question(recognizer, text, label="place", span=span)
                assert question.encoded.inputs["input_ids"][0].tolist() == best.input_ids
                assert question.encoded.places == encoded_window(best).places
                assert question.texts == (text,)
                seen += 1
    assert seen > 4


def test_a_span_between_tokens_is_refused_with_the_tokens_around():
    texts = [record["text"] for record in sample_records(100)]
    settings = EntitySettings(encoder="scratch", layers=1, width=64, window=64)
    recognizer = EntityRecognizer(*build(settings, [*texts, "word " * 50], ["place"]))
    with pytest.raises(
        ValueError, match=r"span is '1-3'; allowed: one that begins and ends with a token"
    ):
        entity_question(recognizer, "word word", label="place", span=(1, 3))
    with pytest.raises(ValueError, match=r"word 0-4"):
        entity_question(recognizer, "word word", label="place", span=(1, 3))


def test_an_unknown_label_is_refused(recognizer):
    with pytest.raises(ValueError, match="label is 'animal'; allowed: 'person', 'place'"):
        entity_question(recognizer, TEXT, label="animal")


def test_a_text_without_entities_is_refused(recognizer):
    with pytest.raises(ValueError, match=r"a text in which an entity place is found\. Give both"):
        entity_question(recognizer, "", label="place")
