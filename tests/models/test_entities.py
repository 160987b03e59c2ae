import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertConfig, ModernBertConfig, RobertaConfig

from kexue.models import EntityConfig, EntityModel

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 40,
}
ENCODERS = {
    "bert": lambda: BertConfig(**SMALL),
    "roberta": lambda: RobertaConfig(**SMALL),
    "modernbert": lambda: ModernBertConfig(
        **SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
    ),
}
HEADS = ["efficient", "standard", "crf"]


def make(encoder="bert", head="efficient", **options):
    torch.manual_seed(0)
    config = EntityConfig(
        ENCODERS[encoder](), head=head, head_size=8, id2label={0: "person", 1: "place"}, **options
    )
    return EntityModel(config).eval()


def batch():
    ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))
    attention = torch.ones(3, 12, dtype=torch.long)
    attention[1, 8:] = 0
    keep = attention.bool()
    keep[:, 0] = False
    return ids, attention, keep


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("head", HEADS)
def test_a_saved_folder_loads_with_auto_classes_and_computes_the_same(tmp_path, encoder, head):
    model = make(encoder, head, thresholds=[0.5, -0.25], window=40, overlap=4)
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    again = AutoModel.from_pretrained(tmp_path)
    assert isinstance(again, EntityModel)
    assert again.config.thresholds == [0.5, -0.25]
    assert again.config.labels == ["person", "place"]
    assert again.config.encoder_config.model_type == encoder
    ids, attention, keep = batch()
    spans = torch.tensor([[[0, 1, 3]], [[1, 2, 2]], [[-1, -1, -1]]])
    for key, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=0, atol=0)
    ours = model(ids, attention, span_mask=keep, spans=spans)
    theirs = again.eval()(ids, attention, span_mask=keep, spans=spans)
    torch.testing.assert_close(theirs.last_hidden_state, ours.last_hidden_state)
    torch.testing.assert_close(theirs.loss, ours.loss)
    assert model.decode(ids, attention, keep) == again.decode(ids, attention, keep)


def test_the_config_is_plain_json_and_names_no_other_place(tmp_path):
    make().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert written["encoder_config"]["model_type"] == "bert"
    assert "_name_or_path" not in written["encoder_config"]
    assert AutoConfig.from_pretrained(tmp_path).encoder_config.vocab_size == 60


@pytest.mark.parametrize("head", HEADS)
def test_padding_does_not_change_loss_or_spans(head):
    model = make(head=head)
    ids, attention, keep = batch()
    spans = torch.tensor([[[0, 1, 3]], [[1, 2, 2]], [[0, 5, 6]]])
    wide = [torch.nn.functional.pad(t, (0, 7)) for t in (ids, attention, keep)]
    torch.testing.assert_close(
        model(*wide[:2], span_mask=wide[2], spans=spans).loss,
        model(ids, attention, span_mask=keep, spans=spans).loss,
        rtol=1e-4,
        atol=1e-5,
    )


def test_encoders_lose_the_pooler_that_would_never_be_trained():
    assert not any("pooler" in name for name, _ in make("bert").named_parameters())


def test_gradient_checkpointing_gives_the_same_gradients():
    ids, attention, keep = batch()
    spans = torch.tensor([[[0, 1, 3]], [[1, 2, 2]], [[0, 5, 6]]])
    gradients = []
    for checkpointing in (False, True):
        model = make(head_dropout=0.0)
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.encoder.config.attention_probs_dropout_prob = 0.0
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(0)
        model(ids, attention, span_mask=keep, spans=spans).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_hidden_tokens_are_drawn_in_training_alone():
    model = make(token_dropout=0.5, mask_token_id=4, head_dropout=0.0)
    ids, attention, keep = batch()
    spans = torch.tensor([[[0, 1, 3]], [[1, 2, 2]], [[0, 5, 6]]])
    seen = []
    model.encoder.register_forward_pre_hook(
        lambda _, args, options: seen.append(options["input_ids"]), with_kwargs=True
    )
    model(ids, attention, span_mask=keep, spans=spans)
    model.train()
    torch.manual_seed(0)
    model(ids, attention, span_mask=keep, spans=spans)
    assert torch.equal(seen[0], ids)
    changed = seen[1] != ids
    assert (seen[1][changed] == 4).all()
    assert not (changed & ~keep).any()
    assert 0.2 < changed[keep].float().mean() < 0.8


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match="without a mask token"):
        EntityConfig(BertConfig(**SMALL), token_dropout=0.1)
    with pytest.raises(ValueError, match="'efficient', 'standard', 'crf'"):
        EntityConfig(BertConfig(**SMALL), head="biaffine")
    with pytest.raises(ValueError, match="the configuration of an encoder"):
        EntityModel(EntityConfig(id2label={0: "a"}))
