"""Take an encoder apart, so that masked copies of a text share the ends of their work.

    first layer   what it makes of each token on its own is the same in all copies that mask alike
    last layer    keys and values of all tokens; the rest for the places that are asked for

Of a layer of width D with a feed-forward layer of 4 D, the first saves a quarter and the last five
sixths, which is a quarter of the work of four layers and a tenth of that of twelve.

Without rotary positions the last layer needs no keys and values either. With <q, W h> = <W' q, h>,
and since weights that sum to 1 mix W h + b as they mix h, few queries look at the states alone.

Post: https://kexue.fm/archives/7476
Axes: B copies, L tokens, K places, D width, H heads, d head size
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from kexue._check import invalid
from kexue.analysis.perturbed_masking import Encode
from kexue.analysis.staged_encoder import StagedEncoder
from kexue.attention import attend
from kexue.models.encoder import KexueModel
from kexue.models.kexue_stages import kexue_stages

# By module and not by class: this package is loaded while `from transformers import BertModel` is
# under way, when those classes cannot be imported yet.
_LIKE_BERT = (
    "transformers.models.bert.modeling_bert.BertModel",
    "transformers.models.roberta.modeling_roberta.RobertaModel",
    "transformers.models.xlm_roberta.modeling_xlm_roberta.XLMRobertaModel",
)


def stage_encoder(model: PreTrainedModel, *, layers: int | None = None) -> Encode:
    """Make the fastest function from ids to states that an encoder allows.

    Args:
        model: an encoder, in evaluation mode.
        layers: how many of its layers to use; all of them by default.

    Returns:
        A `StagedEncoder` for `KexueModel` with softmax attention in both directions and for BERT
        and RoBERTa, from 2 layers on; for any other encoder a plain function, which
        `impact_matrix` takes as well.

    Raises:
        ValueError: if the model is in training mode or has fewer layers.

    Example:
        >>> from kexue.models import mini
        >>> encode = stage_encoder(mini()[0].model)
        >>> encode(torch.tensor([[2, 7, 3]])).shape
        torch.Size([1, 3, 256])
    """
    if model.training:
        raise invalid("model", "in training mode", "an encoder without dropout", "Call .eval().")
    count = model.config.num_hidden_layers
    used = count if layers is None else layers
    if not 1 <= used <= count:
        raise invalid("layers", layers, f"1 to {count}")
    if used > 1 and type(model) is KexueModel:
        staged = kexue_stages(model, used)
    elif used > 1 and _full_name(model) in _LIKE_BERT and not model.config.is_decoder:
        staged = _bert_stages(model, used)
    else:
        staged = None
    if staged is not None:
        return staged

    def whole(ids: Tensor) -> Tensor:
        if used == count:
            return model(input_ids=ids).last_hidden_state
        return model(input_ids=ids, output_hidden_states=True).hidden_states[used]

    return whole


def _full_name(model: nn.Module) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _bert_stages(model: PreTrainedModel, used: int) -> StagedEncoder:
    layers: list[nn.Module] = list(model.encoder.layer[:used])

    def inputs(ids: Tensor) -> Tensor:
        hidden = model.embeddings(input_ids=ids)
        return torch.cat((hidden, *_project(layers[0], hidden)), -1)

    def first(rows: Tensor) -> Tensor:
        hidden, *projected = rows.chunk(4, -1)
        return _finish(layers[0], hidden, *projected)

    def middle(hidden: Tensor) -> Tensor:
        for layer in layers[1:-1]:
            hidden = _finish(layer, hidden, *_project(layer, hidden))
        return hidden

    def last(hidden: Tensor, places: Tensor) -> Tensor:
        into = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
        return _add(layers[-1], into, _look(layers[-1].attention.self, into, hidden))

    return StagedEncoder(inputs, first, middle, last)


def _project(layer: nn.Module, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    attention = layer.attention.self
    return attention.query(hidden), attention.key(hidden), attention.value(hidden)


def _finish(layer: nn.Module, hidden: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Do what is left of a layer after its projections: [B, L, D]."""
    return _add(layer, hidden, _mix(layer.attention.self, query, key, value))


def _mix(attention: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Let [B, K, D] queries look at [B, L, D] keys: [B, K, D]."""
    heads = attention.num_attention_heads
    split = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    # On a CPU, torch's fused kernel is up to six times slower than the plain one in half precision.
    slow = query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16)
    mixed = (attend if slow else F.scaled_dot_product_attention)(*split)
    return mixed.transpose(1, 2).flatten(2)


def _look(attention: nn.Module, into: Tensor, hidden: Tensor) -> Tensor:
    """Let [B, K, D] states look at [B, L, D] states: [B, K, D]."""
    heads, (count, length) = attention.num_attention_heads, (into.shape[1], hidden.shape[1])
    width = hidden.shape[-1]
    query = attention.query(into)
    if count * (width + heads * length) > length * (width + count):
        return _mix(attention, query, attention.key(hidden), attention.value(hidden))
    key, value = (
        part.weight.unflatten(0, (heads, -1)) for part in (attention.key, attention.value)
    )  # [H, d, D]
    # The bias of the keys adds the same to all scores of a query: no weight changes.
    query = torch.einsum("bkhd,hdw->bkhw", query.unflatten(-1, (heads, -1)), key).flatten(1, 2)
    mixed = attend(query[:, None], hidden[:, None], hidden[:, None], scale=attention.scaling)
    mixed = mixed[:, 0].unflatten(1, (count, heads))  # [B, K, H, D]
    seen = torch.einsum("bkhw,hdw->bkhd", mixed, value).flatten(2)
    return seen if attention.value.bias is None else seen + attention.value.bias


def _add(layer: nn.Module, hidden: Tensor, mixed: Tensor) -> Tensor:
    """Add what was looked at, and the feed-forward layer."""
    seen = layer.attention.output(mixed, hidden)
    return layer.output(layer.intermediate(seen), seen)
