import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from kexue.analysis.perturbed_masking import impact_matrix
from kexue.analysis.staged_encoder import StagedEncoder
from kexue.models import KexueConfig, KexueModel, mini
from kexue.models.staging import stage_encoder

MASK = 4
SMALL = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
LIKE_BERT = {
    "bert": (BertModel, BertConfig),
    "roberta": (RobertaModel, RobertaConfig),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig),
}


def build(kind="bert", **options):
    torch.manual_seed(0)
    model, config = LIKE_BERT[kind]
    made = model(config(**SMALL, intermediate_size=48, **options), add_pooling_layer=False)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.2 * torch.randn_like(weight))  # biases and norms, which begin as nothing
    return made.double().eval()


@pytest.mark.parametrize("kind", LIKE_BERT)
@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_stages_are_the_encoder(kind, layers, count):
    model = build(kind)
    staged = stage_encoder(model, layers=layers)
    assert isinstance(staged, StagedEncoder)
    ids = torch.randint(5, 40, (2, 11))
    # Few places look at the states, many at keys and values.
    places = torch.randint(0, 11, (2, count))
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states[layers]
        torch.testing.assert_close(staged(ids), states, rtol=0, atol=1e-12)
        hidden = staged.middle(staged.first(staged.inputs(ids)))
        expected = states.gather(1, places[..., None].expand(-1, -1, 32))
        torch.testing.assert_close(staged.last(hidden, places), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LIKE_BERT)
def test_the_impact_matrix_is_the_same(kind):
    model = build(kind)
    ids = torch.randint(5, 40, (10,))
    spans = [(1, 2), (2, 5), (5, 6), (6, 9)]
    expected, found = (
        impact_matrix(encode, ids, mask_id=MASK, spans=spans)
        for encode in (lambda rows: model(rows).last_hidden_state, stage_encoder(model))
    )
    assert expected.max() > 1e-2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_fewer_layers_are_not_run():
    model, ran = build(), []
    for number, layer in enumerate(model.encoder.layer):
        layer.intermediate.register_forward_hook(lambda *_, number=number: ran.append(number))
    with torch.no_grad():
        stage_encoder(model, layers=2)(torch.tensor([[5, 6]]))
    assert ran == [0, 1]


@pytest.mark.parametrize(
    "model",
    [
        DistilBertModel(
            DistilBertConfig(vocab_size=40, dim=32, n_layers=2, n_heads=4, hidden_dim=48)
        ),
        KexueModel(KexueConfig(**SMALL, residual_attention=True)),
        BertModel(BertConfig(**SMALL, is_decoder=True), add_pooling_layer=False),
    ],
    ids=["distilbert", "residual scores", "decoder"],
)
@pytest.mark.parametrize("layers", [None, 1])
def test_any_other_encoder_is_a_plain_function(model, layers):
    encode = stage_encoder(model.eval(), layers=layers)
    assert not isinstance(encode, StagedEncoder)
    ids = torch.randint(5, 40, (2, 6))
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        torch.testing.assert_close(encode(ids), states[-1 if layers is None else 1])
        assert impact_matrix(encode, ids[0], mask_id=MASK).shape == (6, 6)


def test_one_layer_has_no_two_ends():
    model = build()
    encode = stage_encoder(model, layers=1)
    assert not isinstance(encode, StagedEncoder)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        expected = model(ids, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(encode(ids), expected)


def test_the_encoder_that_comes_with_the_library():
    model = mini()[0].model
    staged = stage_encoder(model)
    assert isinstance(staged, StagedEncoder)
    assert staged.reach == 1
    ids = torch.randint(5, 8000, (1, 12))
    with torch.no_grad():
        torch.testing.assert_close(staged(ids), model(ids).last_hidden_state, rtol=0, atol=1e-4)


def test_bfloat16_runs_through():
    model = build().float()
    ids = torch.randint(5, 40, (8,))
    exact, low = (
        impact_matrix(stage_encoder(model), ids, mask_id=MASK, autocast=dtype)
        for dtype in (None, torch.bfloat16)
    )
    assert torch.corrcoef(torch.stack((exact.flatten(), low.flatten())))[0, 1] > 0.9
    assert not torch.equal(exact, low)


def test_dropout_is_an_error():
    with pytest.raises(ValueError, match=r"model is 'in training mode'.*\.eval\(\)"):
        stage_encoder(build().train())


@pytest.mark.parametrize("layers", [0, 4, -1])
def test_layers_that_are_not_there_are_an_error(layers):
    with pytest.raises(ValueError, match=f"layers is {layers}; allowed: 1 to 3"):
        stage_encoder(build(), layers=layers)
