"""The encoder with a head that names hidden tokens: the model of pre-training.

Only the hidden tokens are scored in training, so the scores of 30 % of the tokens are all that is
ever in memory. The table of embeddings scores as well.

Paper: https://arxiv.org/abs/1810.04805, section 3.1
Axes: B texts, L tokens, D hidden size, V vocabulary entries, M hidden tokens
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MaskedLMOutput

from kexue.models.config import KexueConfig
from kexue.models.encoder import KexueModel, KexuePreTrainedModel

_ROWS = 256  # hidden tokens are scored in multiples of this many


class KexueForMaskedLM(KexuePreTrainedModel):
    """A `KexueModel` that names hidden tokens; `AutoModelForMaskedLM` loads it.

    Args:
        config: a `KexueConfig`.

    Example:
        >>> config = KexueConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1)
        >>> model = KexueForMaskedLM(config).eval()
        >>> model(torch.tensor([[2, 4, 3]])).logits.shape
        torch.Size([1, 3, 50])
    """

    def __init__(self, config: KexueConfig) -> None:
        super().__init__(config)
        self.model = KexueModel(config)
        width = config.embedding_size
        self.transform = nn.Linear(config.hidden_size, width)
        self.activation = ACT2FN[config.hidden_act]
        # Not `norm`: without its prefix, the last norm of the encoder has that name in a file.
        self.transform_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> MaskedLMOutput:
        """Score every entry of the vocabulary, or compute the loss of the hidden tokens.

        Args:
            input_ids: [B, L].
            attention_mask: as for `KexueModel`.
            token_type_ids: as for `KexueModel`.
            position_ids: as for `KexueModel`.
            inputs_embeds: as for `KexueModel`.
            labels: [B, L] ids of the hidden tokens, -100 everywhere else.

        Returns:
            `logits` [B, L, V]; or, with labels, `loss`, the mean cross-entropy of the M hidden
            tokens, and their `logits` [M, V] in the order in which they stand.
        """
        given = (input_ids, attention_mask, token_type_ids, position_ids)
        hidden = self.model(*given, inputs_embeds=inputs_embeds)[0]
        if labels is None:
            return MaskedLMOutput(logits=self._score(hidden))
        rows, targets = hidden[labels >= 0], labels[labels >= 0]
        # In bfloat16 on a CPU, PyTorch keeps a kernel and its buffers for each shape it has met.
        # As many rows as chance hid would be a new shape in each step, and 8 MB more of memory.
        count, empty = len(targets), -len(targets) % _ROWS
        logits = self._score(F.pad(rows, (0, 0, 0, empty)))
        with torch.autocast(logits.device.type, enabled=False):
            # Autocast would make float32 copies of all scores; only the mean needs that much.
            each = F.cross_entropy(logits, F.pad(targets, (0, empty), value=-100), reduction="none")
        # A batch in which chance hid nothing teaches nothing; its mean would be no number.
        return MaskedLMOutput(loss=each.float().sum() / max(1, count), logits=logits[:count])

    def _score(self, hidden: Tensor) -> Tensor:
        raised = self.transform_norm(self.activation(self.transform(hidden)))
        return F.linear(raised, self.model.embeddings.tokens.weight, self.bias)
