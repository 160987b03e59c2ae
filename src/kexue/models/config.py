"""What a `KexueModel` is made of: every architecture article is an option of one encoder."""

from transformers import PreTrainedConfig

from kexue._check import invalid

POSITIONS = ("rope", "learned", "hierarchical", "none")
ATTENTION = ("softmax", "linear", "performer")
MASKS = ("bidirectional", "causal", "unilm")
LOG_N = ("none", "trained", "post-hoc")


class KexueConfig(PreTrainedConfig):
    """What a `KexueModel` is made of.

    Args:
        vocab_size: entries of the vocabulary.
        hidden_size: D.
        num_hidden_layers: layers.
        num_attention_heads: H; D / H must be even.
        intermediate_size: width of the feed-forward layer, 4 D by default.
        embedding_size: width of the embeddings, D by default; another width is projected to D.
        type_vocab_size: entries of the table of segments, 0 for none.
        hidden_act: activation of the feed-forward layer: "gelu", "gelu_new", "relu" or "silu".
        hidden_dropout: dropout of embeddings and of what each layer adds.
        attention_dropout: dropout of the attention weights, for "softmax" without residual scores.
        convolution: tokens that a convolution over the embeddings sees, odd; 0 for none. It gives
            a small encoder that begins from scratch an idea of neighbours and words.
        positions: "rope"; "learned", a table of `max_position_embeddings` rows; "hierarchical",
            the same table read as the square of its rows; or "none".
        max_position_embeddings: rows of a learned table. Rotary positions have no end.
        hierarchical_alpha: weight of the stretch in hierarchical positions.
        rope_base: base of the rotary positions.
        norm: "pre" (before each block, and at the end) or "post" (after each block, as in BERT).
        rms_norm: divide by the root of the mean square, without mean, factor and offset, as in
            RoFormer-V2.
        layer_norm_eps: added to the variance.
        use_bias: whether linear layers have a bias.
        residual_attention: add the scores of all lower layers to those of a layer (RealFormer).
        log_n: "trained" multiplies the scores of a query that sees n tokens by log n / log N;
            "post-hoc" by max(1, log n / log N), for weights trained without; or "none".
        log_n_length: N: 512 for "trained", the longest text of training for "post-hoc".
        log_n_min: smaller numbers of tokens count as this one.
        attention: "softmax"; "linear" with `feature_map`; or "performer", random features that
            approximate softmax at linear cost.
        feature_map: of linear attention, see `kexue.attention.linear_attend`.
        performer_features: random features of a head, 4 d by default.
        mask: "bidirectional"; "causal"; or "unilm", in which tokens of segment 0 see each other and
            those of segment 1 see what is before them.
        pad_token_id: id of padding.
        options: whatever `PreTrainedConfig` takes.

    Raises:
        ValueError: if options are unknown or do not go together.

    Example:
        >>> KexueConfig(hidden_size=128, num_attention_heads=2).intermediate_size
        512
    """

    model_type = "kexue"

    def __init__(
        self,
        *,
        vocab_size: int = 8000,
        hidden_size: int = 256,
        num_hidden_layers: int = 4,
        num_attention_heads: int = 4,
        intermediate_size: int | None = None,
        embedding_size: int | None = None,
        type_vocab_size: int = 0,
        hidden_act: str = "gelu",
        hidden_dropout: float = 0.1,
        attention_dropout: float = 0.0,
        convolution: int = 0,
        positions: str = "rope",
        max_position_embeddings: int | None = None,
        hierarchical_alpha: float = 0.4,
        rope_base: float = 10000.0,
        norm: str = "pre",
        rms_norm: bool = False,
        layer_norm_eps: float = 1e-5,
        use_bias: bool = True,
        residual_attention: bool = False,
        log_n: str = "none",
        log_n_length: int = 512,
        log_n_min: int = 1,
        attention: str = "softmax",
        feature_map: str = "elu1",
        performer_features: int | None = None,
        mask: str = "bidirectional",
        pad_token_id: int = 0,
        **options: object,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size or 4 * hidden_size
        self.embedding_size = embedding_size or hidden_size
        self.type_vocab_size = type_vocab_size
        self.hidden_act = hidden_act
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.convolution = convolution
        self.positions = positions
        self.hierarchical_alpha = hierarchical_alpha
        # A table ends; tasks read this to know how long a window may be.
        self.max_position_embeddings = max_position_embeddings
        if positions in ("learned", "hierarchical") and max_position_embeddings is None:
            self.max_position_embeddings = 512
        self.rope_base = rope_base
        self.norm = norm
        self.rms_norm = rms_norm
        self.layer_norm_eps = layer_norm_eps
        self.use_bias = use_bias
        self.residual_attention = residual_attention
        self.log_n = log_n
        self.log_n_length = log_n_length
        self.log_n_min = log_n_min
        self.attention = attention
        self.feature_map = feature_map
        self.performer_features = performer_features or 4 * (hidden_size // num_attention_heads)
        self.mask = mask
        self.initializer_range = 0.02
        self.pad_token_id = pad_token_id
        self._check()
        super().__init__(**options)

    def _check(self) -> None:
        heads = self.num_attention_heads
        if self.hidden_size % (2 * heads):
            allowed = f"a multiple of {2 * heads}, twice the number of heads"
            raise invalid("hidden_size", self.hidden_size, allowed)
        if self.convolution and self.convolution % 2 == 0:
            raise invalid("convolution", self.convolution, "an odd number of tokens, or 0")
        choices = {
            "positions": POSITIONS,
            "norm": ("pre", "post"),
            "attention": ATTENTION,
            "mask": MASKS,
            "log_n": LOG_N,
            "hidden_act": ("gelu", "gelu_new", "relu", "silu"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise invalid(name, getattr(self, name), " or ".join(map(repr, allowed)))
        self._check_attention()

    def _check_attention(self) -> None:
        """Refuse what linear attention, which never sees a score, cannot do."""
        if self.attention == "softmax":
            return
        if self.residual_attention:
            fix = "Residual scores exist in softmax attention alone."
            raise invalid("residual_attention", True, f"False with {self.attention!r}", fix)
        if self.mask == "unilm":
            fix = "Linear attention takes 'bidirectional' or 'causal'."
            raise invalid("mask", "unilm", "with attention 'softmax'", fix)
        if self.log_n != "none" and self.attention == "linear":
            fix = "There is no softmax to be made sharper."
            raise invalid("log_n", self.log_n, "'none' with 'linear'", fix)
