"""The head for hidden tokens against its definition, and its files as others load them."""

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, FillMaskPipeline

from kexue.models import KexueConfig, KexueForMaskedLM, train_tokenizer

WORDS = "北京是中国的首都，上海不是。"


def make(seed=0, **options):
    torch.manual_seed(seed)
    usual = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "hidden_dropout": 0.0}
    model = KexueForMaskedLM(KexueConfig(**{**usual, "convolution": 3, **options}))
    with torch.no_grad():
        for weight in model.parameters():
            # Norms and biases that could be mistaken for each other are all alike in a new model.
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def batch(seed=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 50, (3, 9), generator=generator)
    labels = torch.where(torch.rand(3, 9, generator=generator) < 0.4, ids, -100)
    return torch.where(labels >= 0, 4, ids), labels


def by_hand(model, ids, labels):
    """Score all places by all entries, in double precision and plain operations; then the mean."""
    hidden = model.model(ids).last_hidden_state
    raised = hidden @ model.transform.weight.T + model.transform.bias
    raised = raised * 0.5 * (1 + torch.erf(raised / 2**0.5))
    centred = raised - raised.mean(-1, keepdim=True)
    normed = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    normed = normed * model.transform_norm.weight + model.transform_norm.bias
    logits = normed @ model.get_input_embeddings().weight.T + model.bias
    losses = [
        logits[row, place].logsumexp(0) - logits[row, place, labels[row, place]]
        for row in range(len(ids))
        for place in range(ids.shape[1])
        if labels[row, place] != -100
    ]
    return logits, sum(losses) / len(losses)


def test_scores_and_loss_are_their_definition():
    model = make().double()
    ids, labels = batch()
    logits, loss = by_hand(model, ids, labels)
    torch.testing.assert_close(model(ids).logits, logits)
    output = model(ids, labels=labels)
    # The mean is taken in single precision.
    torch.testing.assert_close(output.loss.double(), loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(output.logits, logits[labels >= 0])


def test_gradients_are_those_of_the_definition():
    model = make().double()
    ids, labels = batch()
    model(ids, labels=labels).loss.backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    by_hand(model, ids, labels)[1].backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-5, atol=1e-9)
        assert parameter.grad.abs().sum() > 0, name


def test_a_batch_without_hidden_tokens_has_no_loss_and_no_gradient():
    model = make()
    ids, _ = batch()
    loss = model(ids, labels=torch.full_like(ids, -100)).loss
    loss.backward()
    assert loss.item() == 0
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_only_the_hidden_tokens_are_scored():
    ids, labels = batch()
    assert make()(ids, labels=labels).logits.shape == (int((labels >= 0).sum()), 50)


def test_however_many_are_hidden_the_head_meets_few_shapes():
    """Each new shape in bfloat16 costs memory that a CPU does not give back."""
    model, rows = make(), set()
    model.transform.register_forward_hook(lambda module, given, scored: rows.add(len(scored)))
    ids = torch.randint(5, 50, (4, 128), generator=torch.Generator().manual_seed(3))
    for hidden in range(1, 400, 7):
        labels = torch.where(torch.arange(512).reshape(4, 128) < hidden, ids, -100)
        assert len(model(ids, labels=labels).logits) == hidden
    assert rows == {256, 512}


def test_in_bfloat16_the_loss_is_nearly_the_same():
    model = make()
    ids, labels = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(ids, labels=labels)
    assert output.logits.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32
    torch.testing.assert_close(output.loss, model(ids, labels=labels).loss, rtol=0.02, atol=0)


@pytest.mark.parametrize("options", [{}, {"convolution": 0}], ids=str)
def test_a_saved_model_is_the_same_for_both_auto_classes(tmp_path, options):
    model = make(**options)
    model.save_pretrained(tmp_path)
    ids, _ = batch()
    whole = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert isinstance(whole, KexueForMaskedLM)
    for name, weight in model.state_dict().items():
        assert torch.equal(whole.state_dict()[name], weight), name
    assert torch.equal(whole(ids).logits, model(ids).logits)
    encoder = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.equal(encoder(ids)[0], model.model(ids)[0])


def test_a_loaded_model_draws_the_directions_of_performer(tmp_path):
    make().save_pretrained(tmp_path)
    model = KexueForMaskedLM.from_pretrained(tmp_path, attention="performer").eval()
    drawn = {name: b for name, b in model.named_buffers() if "projection" in name}
    assert drawn
    assert all(b.isfinite().all() and b.abs().sum() > 0 for b in drawn.values())
    assert model(batch()[0]).logits.isfinite().all()


def test_an_encoder_alone_begins_a_model_with_a_new_head(tmp_path):
    model = make()
    model.model.save_pretrained(tmp_path)
    ids, _ = batch()
    whole = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert torch.equal(whole.model(ids)[0], model.model(ids)[0])


def test_the_pipeline_of_transformers_names_a_hidden_word():
    tokenizer = train_tokenizer([WORDS] * 2, vocab_size=300)
    model = make(vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=1).train()
    ids = tokenizer(WORDS, return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(300):
        place = 1 + step % (ids.shape[1] - 2)
        hidden, labels = ids.clone(), torch.full_like(ids, -100)
        hidden[0, place], labels[0, place] = tokenizer.mask_token_id, ids[0, place]
        optimizer.zero_grad()
        model(hidden, labels=labels).loss.backward()
        optimizer.step()
    fill = FillMaskPipeline(model=model.eval(), tokenizer=tokenizer)
    for place, word in enumerate(WORDS):
        best = fill(WORDS[:place] + "[MASK]" + WORDS[place + 1 :])[0]
        assert (best["token_str"], best["token"]) == (word, ids[0, place + 1].item())
