import warnings
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from kexue.data.synthetic import sample_records
from kexue.models import mini
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.explaining import ModelWithTokenizer, explain
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_model import EntitySettings, build

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = sample_records(1)[0]["text"]
FILM = "这部电影很差，not good 😀"


@pytest.fixture(scope="module")
def tokenizer():
    return mini()[1]


def make(kind, config, tokenizer):
    torch.manual_seed(0)
    return ModelWithTokenizer(kind(config).eval(), tokenizer)


def bert(tokenizer, **options):
    sizes = {**SIZES, "vocab_size": len(tokenizer), "intermediate_size": 32}
    return BertConfig(**{**sizes, "initializer_range": 0.2, **options})


@pytest.fixture(scope="module")
def classifier(tokenizer):
    return make(BertForSequenceClassification, bert(tokenizer, num_labels=3), tokenizer)


def entities(head):
    texts = [record["text"] for record in sample_records(100)]
    torch.manual_seed(0)
    settings = EntitySettings(encoder="scratch", head=head, layers=1, width=64, window=64)
    return EntityRecognizer(*build(settings, texts, ["person", "place"]))


def heads(tokenizer):
    """Every kind of score: a model and what is asked of it."""
    wide = {"vocab_size": len(tokenizer), "initializer_range": 0.2}
    sizes = {**SIZES, **wide, "intermediate_size": 32}
    masked = "这部[MASK]影很差"
    for head in ("efficient", "standard", "crf"):
        yield f"entities, {head}", entities(head), (TEXT, {"label": "place", "span": (0, 4)})
    for pooling in ("P1", "P3", "P4"):
        encoder = SentenceEncoder.from_pretrained("mini", pooling=pooling)
        yield f"similarity, {pooling}", encoder, (FILM, {"other": "一部好片"})
    yield "hidden token", ModelWithTokenizer(*mini()), (masked, {"label": "电"})
    roberta = RobertaConfig(**sizes, max_position_embeddings=60, pad_token_id=0)
    yield "hidden token, RoBERTa", make(RobertaForMaskedLM, roberta, tokenizer), (masked, {})
    gpt = GPT2Config(n_embd=24, n_layer=2, n_head=2, **wide)
    yield "next token, GPT-2", make(GPT2LMHeadModel, gpt, tokenizer), (FILM, {})
    llama = make(LlamaForCausalLM, LlamaConfig(**sizes), tokenizer)
    yield "next token, Llama", llama, (FILM, {"label": "的"})
    plain = make(BertForSequenceClassification, bert(tokenizer, num_labels=3), tokenizer)
    yield "class", plain, (FILM, {"label": "1"})
    yield "class of a pair", plain, (FILM, {"other": "真的吗"})
    distil = DistilBertConfig(dim=24, n_layers=2, n_heads=2, hidden_dim=32, **wide)
    yield (
        "class, DistilBERT",
        make(DistilBertForSequenceClassification, distil, tokenizer),
        (FILM, {}),
    )
    kind = {"problem_type": "multi_label_classification", "num_labels": 3}
    roberta = RobertaConfig(**sizes, **kind, max_position_embeddings=60, pad_token_id=0)
    yield "classes", make(RobertaForSequenceClassification, roberta, tokenizer), (FILM, {})
    single = bert(tokenizer, num_labels=1)
    yield "value", make(BertForSequenceClassification, single, tokenizer), (FILM, {})


CASES = list(heads(mini()[1]))


@pytest.mark.parametrize("baseline", ["zero", "mask"])
@pytest.mark.parametrize(
    ("model", "asked"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_the_parts_add_up_on_every_kind_of_score(model, asked, baseline):
    text, options = asked
    found = explain(model, text, baseline=baseline, tolerance=2e-3, **options)
    assert found.converged
    sums = {}
    for part in found.texts:
        pair = "class" in found.target or len({t.baseline_score for t in found.texts}) == 1
        sums.setdefault(0 if pair else part.text, []).append(part)
    for parts in sums.values():
        total = sum(part.total for part in parts)
        difference = found.score - parts[0].baseline_score
        assert difference != 0
        assert total == pytest.approx(difference, rel=2.1e-3, abs=2e-4)


@pytest.mark.parametrize(
    ("model", "asked"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_every_token_has_its_characters(model, asked):
    text, options = asked
    found = explain(model, text, tolerance=0.5, **options)
    given = [text] if len(found.texts) == 1 else [text, options["other"]]
    for part, whole in zip(found.texts, given, strict=True):
        assert part.text == whole
        hidden = set(range(*found.span)) if "[MASK]" in whole else set()
        covered = [k for token in part.tokens for k in range(token.start, token.end)]
        assert len(covered) == len(set(covered))
        wanted = {k for k, c in enumerate(whole) if not c.isspace()} - hidden
        assert set(covered) == wanted
        assert all(token.text == whole[token.start : token.end] for token in part.tokens)


def test_captum_gives_the_same(classifier, tokenizer):
    captum = pytest.importorskip("captum.attr")
    inputs = tokenizer(FILM, return_tensors="pt")
    ids = inputs["input_ids"]
    blank = torch.full_like(ids, tokenizer.mask_token_id)
    blank[:, 0], blank[:, -1] = ids[:, 0], ids[:, -1]

    def score(ids):
        logits = classifier.model(input_ids=ids).logits
        return logits[:, 2] - logits[:, :2].logsumexp(1)

    peer = captum.LayerIntegratedGradients(score, classifier.model.get_input_embeddings())
    expected = peer.attribute(ids, blank, n_steps=200, internal_batch_size=20).sum(-1)[0, 1:-1]
    found = explain(classifier, FILM, label="2", baseline="mask", tolerance=1e-5)
    values = torch.tensor([token.value for token in found.texts[0].tokens])
    # The bytes of an emoji are one token here.
    joined = torch.cat((expected[: len(values) - 1], expected[len(values) - 1 :].sum()[None]))
    torch.testing.assert_close(values, joined.detach().float(), atol=1e-4, rtol=1e-3)


def test_the_baseline_is_what_the_path_begins_with(classifier, tokenizer):
    inputs = tokenizer(FILM, return_tensors="pt")
    table = classifier.model.get_input_embeddings().weight
    for name, vector in (("zero", 0 * table[0]), ("pad", table[0]), ("mask", table[4])):
        embeddings = table[inputs["input_ids"]].clone()
        embeddings[:, 1:-1] = vector
        with torch.no_grad():
            logits = classifier.model(inputs_embeds=embeddings).logits[0]
            expected = logits[1] - logits[[0, 2]].logsumexp(0)
        found = explain(classifier, FILM, label="1", baseline=name)
        assert found.texts[0].baseline_score == pytest.approx(expected.item(), abs=1e-4)
        assert found.baseline == name
    mean = explain(classifier, FILM, label="1", baseline=table.mean(0).detach())
    assert mean.baseline == "given"
    assert mean.converged


def test_a_probability_is_explained_as_one(classifier, tokenizer):
    found = explain(classifier, FILM, label="1", target="probability")
    logits = classifier.model(**tokenizer(FILM, return_tensors="pt")).logits
    assert found.target == "probability"
    assert found.score == pytest.approx(logits.softmax(1)[0, 1].item(), abs=1e-5)
    assert 0 < found.texts[0].baseline_score < 1


def test_a_token_that_decides_is_found(tokenizer):
    """A classifier by hand: the first number of the embedding of any token is the logit."""
    model = make(BertForSequenceClassification, bert(tokenizer, num_labels=1), tokenizer).model

    class Summing(BertForSequenceClassification):
        def forward(self, input_ids, **_):
            return SimpleNamespace(logits=self.get_input_embeddings()(input_ids)[:, :, :1].sum(1))

    summing = Summing(model.config)
    weight = summing.get_input_embeddings().weight
    torch.nn.init.zeros_(weight)
    with torch.no_grad():
        weight[tokenizer.convert_tokens_to_ids("差"), 0] = -3
        weight[tokenizer.convert_tokens_to_ids("很"), 0] = 1
    found = explain(ModelWithTokenizer(summing, tokenizer), "片子很差")
    values = {token.text: round(token.value, 4) for token in found.texts[0].tokens}
    assert values == {"片": 0, "子": 0, "很": 1, "差": -3}
    assert [token.text for token in found.texts[0].top(2)] == ["差", "很"]
    assert found.texts[0].steps == 5


def test_dropout_is_switched_off_for_a_while(tokenizer):
    config = bert(tokenizer, num_labels=2, hidden_dropout_prob=0.5)
    model = make(BertForSequenceClassification, config, tokenizer)
    model.model.train()
    model.model.bert.pooler.eval()
    modes = [module.training for module in model.model.modules()]
    first, second = (explain(model, FILM, label="1") for _ in range(2))
    assert first == second
    assert [module.training for module in model.model.modules()] == modes


def test_the_model_is_left_alone(classifier):
    explain(classifier, FILM)
    assert all(value.grad is None for value in classifier.model.parameters())
    assert not classifier.model.get_input_embeddings()._forward_hooks


def test_a_pipeline_will_do(classifier):
    pipeline = SimpleNamespace(model=classifier.model, tokenizer=classifier.tokenizer, task="any")
    assert explain(pipeline, FILM) == explain(classifier, FILM)


def test_what_misses_the_tolerance_is_said(tokenizer):
    class Rough(BertForSequenceClassification):
        def forward(self, input_ids, **_):
            total = self.get_input_embeddings()(input_ids).sum((1, 2))
            return SimpleNamespace(logits=(total + (1e4 * total).sin())[:, None])

    torch.manual_seed(0)
    model = ModelWithTokenizer(Rough(bert(tokenizer, num_labels=1)), tokenizer)
    with pytest.warns(RuntimeWarning, match="1 of 1 attributions"):
        found = explain(model, FILM)
    assert not found.converged
    assert "which is too much" in str(found)


def test_a_text_without_tokens_has_nothing_to_explain(classifier):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explain(classifier, "")
    assert found.texts[0].tokens == ()
    assert found.score == pytest.approx(found.texts[0].baseline_score)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "logit"}, "target is 'logit'; allowed: 'log-odds' or 'probability'"),
        ({"baseline": "noise"}, "baseline is 'noise'; allowed: 'zero', 'pad', 'mask' or a tensor"),
        ({"baseline": torch.ones(5)}, r"baseline is \(5,\); allowed: a shape that broadcasts to"),
        ({"span": (0, 2)}, r"span is \(0, 2\); allowed: nothing, for a classifier"),
        ({"label": "fine"}, "label is 'fine'; allowed: 'LABEL_0'"),
    ],
)
def test_impossible_options_are_refused(classifier, options, message):
    with pytest.raises(ValueError, match=message):
        explain(classifier, FILM, **options)


def test_options_of_other_models_are_refused(tokenizer):
    encoder = SentenceEncoder.from_pretrained("mini")
    with pytest.raises(ValueError, match="other is None; allowed: a text, for a sentence encoder"):
        explain(encoder, "a")
    with pytest.raises(ValueError, match="label is 'x'; allowed: nothing, for a sentence encoder"):
        explain(encoder, "a", other="b", label="x")
    with pytest.raises(ValueError, match="other is 'b'; allowed: nothing, for a model of tokens"):
        explain(ModelWithTokenizer(*mini()), "[MASK]", other="b")
    with pytest.raises(
        ValueError, match="other is 'b'; allowed: nothing, for an entity recogniser"
    ):
        explain(entities("efficient"), TEXT, other="b")


def test_a_baseline_that_the_tokenizer_lacks_is_refused(classifier):
    class Poor:
        pad_token_id = mask_token_id = None

        def __getattr__(self, name):
            return getattr(classifier.tokenizer, name)

        def __call__(self, *texts, **options):
            return classifier.tokenizer(*texts, **options)

    with pytest.raises(ValueError, match=r"baseline is 'mask'.*no mask token"):
        explain(ModelWithTokenizer(classifier.model, Poor()), FILM, baseline="mask")


@pytest.mark.parametrize("kind", [BertModel, BertForTokenClassification])
def test_models_without_such_scores_are_refused(tokenizer, kind):
    model = make(kind, bert(tokenizer), tokenizer)
    with pytest.raises(ValueError, match=f"a {kind.__name__}'; allowed: a classifier of texts"):
        explain(model, FILM)


def test_a_model_needs_a_tokenizer(classifier):
    with pytest.raises(ValueError, match="ModelWithTokenizer\\(model, tokenizer\\)"):
        explain(classifier.model, FILM)
