import pytest
import torch

from kexue.analysis.perturbed_masking import impact_matrix
from kexue.models import KexueConfig, KexueModel
from kexue.models.kexue_stages import kexue_stages

MASK = 4


def build(**options):
    torch.manual_seed(0)
    small = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    model = KexueModel(KexueConfig(**small, **options)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))  # biases and norms, which begin as nothing
    return model


KINDS = {
    "plain": {},
    "post": {"norm": "post"},
    "mini": {"norm": "post", "convolution": 3, "log_n": "trained"},
    "convolution": {"convolution": 5},
    "learned": {"positions": "learned"},
    "hierarchical": {"positions": "hierarchical", "type_vocab_size": 2},
    "projected": {"embedding_size": 16, "norm": "post"},
    "log n": {"log_n": "post-hoc", "log_n_length": 4},
    "no bias": {"use_bias": False, "rms_norm": True, "hidden_act": "relu"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [2, 3])
def test_the_stages_are_the_encoder(kind, layers):
    model = build(**KINDS[kind])
    staged = kexue_stages(model, layers)
    ids = torch.randint(5, 40, (2, 7))
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states[layers]
        torch.testing.assert_close(staged(ids), states, rtol=0, atol=1e-12)
        places = torch.tensor([[6, 0, 3], [2, 2, 5]])
        hidden = staged.middle(staged.first(staged.inputs(ids)))
        expected = states.gather(1, places[..., None].expand(-1, -1, 32))
        torch.testing.assert_close(staged.last(hidden, places), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_impact_matrix_is_the_same(kind):
    model = build(**KINDS[kind])
    ids, spans = torch.randint(5, 40, (9,)), [(1, 2), (2, 4), (4, 5), (5, 8)]
    expected, found = (
        impact_matrix(encode, ids, mask_id=MASK, spans=spans)
        for encode in (lambda rows: model(rows).last_hidden_state, kexue_stages(model, 3))
    )
    assert expected.max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "linear"},
        {"attention": "performer"},
        {"residual_attention": True},
        {"mask": "causal"},
        {"mask": "unilm", "type_vocab_size": 2},
        {"convolution": 9},
    ],
)
def test_what_cannot_be_parted_is_left_whole(options):
    assert kexue_stages(build(**options), 3) is None


def test_bfloat16_runs_through():
    model = build(norm="post", convolution=3).float()
    ids = torch.randint(5, 40, (8,))
    exact, low = (
        impact_matrix(kexue_stages(model, 3), ids, mask_id=MASK, autocast=dtype)
        for dtype in (None, torch.bfloat16)
    )
    assert torch.corrcoef(torch.stack((exact.flatten(), low.flatten())))[0, 1] > 0.9
    assert not torch.equal(exact, low)
