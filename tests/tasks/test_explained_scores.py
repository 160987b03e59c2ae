import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from kexue.models import mini
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.explained_scores import (
    class_question,
    log_odds,
    similarity_questions,
    token_limit,
    token_question,
)

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def tokenizer():
    return mini()[1]


@pytest.fixture(scope="module")
def sizes(tokenizer):
    return {"vocab_size": len(tokenizer), "intermediate_size": 32, **SMALL}


def classifier(sizes, **options):
    torch.manual_seed(0)
    config = BertConfig(**sizes, initializer_range=0.5, **options)
    return BertForSequenceClassification(config).eval()


def scored(question):
    with torch.no_grad():
        return question.score(question.model(**question.encoded.inputs))


@pytest.mark.parametrize("classes", [2, 5])
def test_log_odds_are_those_of_the_probability(classes):
    logits = 3 * torch.randn(4, classes).double()
    for k in range(classes):
        p = logits.softmax(1)[:, k]
        torch.testing.assert_close(log_odds(logits, k), (p / (1 - p)).log())
        torch.testing.assert_close(log_odds(logits + 7, k), log_odds(logits, k))


def test_log_odds_stay_exact_where_a_class_is_certain():
    assert log_odds(torch.tensor([[200.0, 0.0, 0.0]]), 0).item() == pytest.approx(199.3069)


def test_a_class_by_name_by_number_and_by_default(sizes, tokenizer):
    model = classifier(sizes, id2label={0: "bad", 1: "good", 2: "mixed"}, label2id={"bad": 0})
    logits = model(**tokenizer("很好", return_tensors="pt")).logits.detach()
    best = ["bad", "good", "mixed"][logits.argmax()]
    assert class_question(model, tokenizer, "很好").label == best
    for label in ("mixed", "2"):
        question = class_question(model, tokenizer, "很好", label=label)
        assert question.label == "mixed"
        torch.testing.assert_close(scored(question), log_odds(logits, 2))
    with pytest.raises(ValueError, match="label is 'fine'; allowed: 'bad', 'good', 'mixed'"):
        class_question(model, tokenizer, "很好", label="fine")
    with pytest.raises(ValueError, match="label is '3'"):
        class_question(model, tokenizer, "很好", label="3")


def test_classes_that_do_not_exclude_each_other_have_their_own_odds(sizes, tokenizer):
    model = classifier(sizes, num_labels=3, problem_type="multi_label_classification")
    logits = model(**tokenizer("很好", return_tensors="pt")).logits.detach()
    torch.testing.assert_close(
        scored(class_question(model, tokenizer, "很好", label="1")), logits[:, 1]
    )


def test_a_regression_has_a_value(sizes, tokenizer):
    model = classifier(sizes, num_labels=1)
    question = class_question(model, tokenizer, "很好")
    assert (question.label, question.target) == ("value", "value")
    expected = model(**tokenizer("很好", return_tensors="pt")).logits[:, 0]
    torch.testing.assert_close(scored(question), expected.detach())


def test_a_pair_goes_in_as_a_pair(sizes, tokenizer):
    model = classifier(sizes)
    question = class_question(model, tokenizer, "很好", other="不错", label="0")
    logits = model(**tokenizer("很好", "不错", return_tensors="pt")).logits.detach()
    torch.testing.assert_close(scored(question), log_odds(logits, 0))
    assert question.texts == ("很好", "不错")


def test_a_hidden_token_is_scored_where_it_stands(tokenizer):
    model, _ = mini()
    text = "中国的首[MASK]是北京。"
    question = token_question(model, tokenizer, text, label="都")
    ids = tokenizer(text, return_tensors="pt")
    place = ids["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    logits = model(**ids).logits[:, place].detach()
    which = tokenizer.convert_tokens_to_ids("都")
    torch.testing.assert_close(scored(question), log_odds(logits, which))
    assert question.span == (4, 10)
    assert question.encoded.places[place] is None
    likeliest = token_question(model, tokenizer, text)
    assert likeliest.label == tokenizer.decode(logits.argmax())


def test_one_of_several_is_chosen_by_its_span(tokenizer):
    model, _ = mini()
    text = "中[MASK]的首[MASK]"
    question = token_question(model, tokenizer, text, span=(9, 15))
    assert question.span == (9, 15)
    # The other one is a reason like any other token.
    assert (0, 1, 7) in question.encoded.places
    with pytest.raises(ValueError, match=r"There are 2: 1-7, 9-15\. Choose one by its span"):
        token_question(model, tokenizer, text)
    with pytest.raises(
        ValueError, match="span is '0-1'; allowed: characters of a mask token: 1-7, 9-15"
    ):
        token_question(model, tokenizer, text, span=(0, 1))


def test_a_text_without_anything_hidden_is_refused(tokenizer, sizes):
    for model in (mini()[0], BertForMaskedLM(BertConfig(**sizes)).eval()):
        with pytest.raises(ValueError, match=r"a text with \[MASK\] for a token. Write \[MASK\]"):
            token_question(model, tokenizer, "中国")


def test_the_next_token_of_a_decoder(tokenizer, sizes):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.5)).eval()
    question = token_question(model, tokenizer, "中国的首", label="都")
    assert question.span is None
    ids = tokenizer("中国的首", return_tensors="pt")
    expected = log_odds(model(**ids).logits[:, -1].detach(), tokenizer.convert_tokens_to_ids("都"))
    torch.testing.assert_close(scored(question), expected)


def test_a_label_must_be_one_token(tokenizer):
    model, _ = mini()
    with pytest.raises(
        ValueError, match=r"label is '北京城'; allowed: one token.*'北', '京', '城'"
    ):
        token_question(model, tokenizer, "[MASK]", label="北京城")


def test_each_text_is_asked_about_the_other(tokenizer):
    encoder = SentenceEncoder.from_pretrained("mini")
    a, b = "我喜欢北京", "首都很好，我爱它。"
    first, second = similarity_questions(encoder, a, b)
    assert (first.texts, second.texts) == ((a,), (b,))
    vectors = encoder([a, b], normalize=True)
    expected = pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    assert scored(first).item() == expected
    assert scored(second).item() == expected


def test_the_limit_is_that_of_the_model(tokenizer, sizes):
    model = BertForMaskedLM(BertConfig(**sizes, max_position_embeddings=12)).eval()
    assert token_limit(model, tokenizer) == 12
    with pytest.raises(ValueError, match="text is '22 tokens'; allowed: at most 12"):
        token_question(model, tokenizer, "一" * 20)
    encoder = SentenceEncoder.from_pretrained("mini", window=8)
    with pytest.raises(ValueError, match="at most 8"):
        similarity_questions(encoder, "短", "一" * 20)
