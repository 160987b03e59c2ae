"""Texts as the vectors that enter a model: what an attribution begins with.

Any model of transformers will do: the table of token embeddings is watched, and gives what it is
told to. Positions, segments and scores by the same table stay as they are.

Axes: B, n copies of a text, L tokens, D width of the embeddings
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.data.windows import Window

Place = tuple[int, int, int]


@dataclass(frozen=True)
class EncodedTexts:
    """One or two texts as a model takes them.

    Attributes:
        inputs: [1, L] tensors by name.
        places: for each token the number of its text, its first character and the one after its
            last; None for what belongs to no text, such as [CLS].

    Example:
        >>> EncodedTexts({}, (None, (0, 0, 2), None)).places[1]
        (0, 0, 2)
    """

    inputs: dict[str, Tensor]
    places: tuple[Place | None, ...]


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, limit: int
) -> EncodedTexts:
    """Tokenise a text, or two texts as a pair.

    Args:
        tokenizer: a fast one.
        texts: one or two.
        limit: most tokens, special tokens included.

    Returns:
        The tensors and the places of the tokens.

    Raises:
        ValueError: if the tokenizer is not a fast one, or there are more tokens than the limit.

    Example:
        >>> from kexue.models import mini
        >>> encode_texts(mini()[1], ["北京"], limit=512).places
        (None, (0, 0, 1), (0, 1, 2), None)
    """
    if not getattr(tokenizer, "is_fast", False):
        given = type(tokenizer).__name__
        raise invalid("tokenizer", given, "a fast one, which knows where its tokens are")
    coded = tokenizer(
        *texts, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
    )
    if len(coded["input_ids"]) > limit:
        fix = "Cut it, and explain the part that matters."
        raise invalid("text", f"{len(coded['input_ids'])} tokens", f"at most {limit}", fix)
    rows = zip(
        coded["offset_mapping"], coded["special_tokens_mask"], coded.sequence_ids(), strict=True
    )
    places = tuple(
        None if special or part is None else _tight(part, texts[part], *offset)
        for offset, special, part in rows
    )
    names = [name for name in tokenizer.model_input_names if name in coded]
    return EncodedTexts({name: torch.tensor([coded[name]]) for name in names}, places)


def encoded_window(window: Window) -> EncodedTexts:
    """Write a window of a text as a model takes it.

    Args:
        window: from `cut_windows`.

    Returns:
        The tensors and the places of the tokens.

    Example:
        >>> encoded_window(Window(0, [2, 9, 3], [False, True, False], [0, 0, 0], [0, 4, 0])).places
        (None, (0, 0, 4), None)
    """
    ids = torch.tensor([window.input_ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if window.token_type_ids is not None:
        inputs["token_type_ids"] = torch.tensor([window.token_type_ids])
    rows = zip(window.keep, window.starts, window.ends, strict=True)
    return EncodedTexts(inputs, tuple((0, s, e) if keep else None for keep, s, e in rows))


def _tight(part: int, text: str, start: int, end: int) -> Place | None:
    """Take white space off the edges of a token; one of nothing else belongs to no text."""
    piece = text[start:end]
    start, end = end - len(piece.lstrip()), start + len(piece.rstrip())
    return (part, start, end) if start < end else None


class EmbeddedInputs:
    """A model that is given the embeddings of the tokens of a text.

    Args:
        model: of transformers, or with its `get_input_embeddings`.
        inputs: [1, L] tensors by name, `input_ids` among them.

    Raises:
        ValueError: if the model does not look its tokens up once, in the table it names.

    Example:
        >>> from kexue.models import mini
        >>> model, tokenizer = mini()
        >>> embedded = EmbeddedInputs(model, tokenizer("北京", return_tensors="pt"))
        >>> embedded.embeddings.shape, embedded(embedded.embeddings).logits.shape
        (torch.Size([1, 4, 256]), torch.Size([1, 4, 8000]))
    """

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> None:
        self.model = model
        self.table: nn.Module = model.get_input_embeddings()
        place = next(model.parameters()).device
        self.inputs = {name: value.to(place) for name, value in inputs.items()}
        # What is asked of a decoder is its next token alone.
        self._options: dict[str, Any] = {}
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            self._options["logits_to_keep"] = 1
        seen: list[Tensor] = []
        hook = self.table.register_forward_hook(lambda *call: seen.append(call[2].detach()))
        try:
            with torch.no_grad():
                self.outputs = model(**self.inputs, **self._options)
        finally:
            hook.remove()
        shape = self.inputs["input_ids"].shape
        if len(seen) != 1 or seen[0].shape[:2] != shape:
            given = f"a {type(model).__name__}, which looks up tokens {len(seen)} times"
            raise invalid("model", given, "a model that looks up the tokens of the text once")
        self.embeddings = seen[0]

    def __call__(self, embeddings: Tensor) -> Any:
        """Run the model.

        Args:
            embeddings: [n, L, D] in place of those of the text.

        Returns:
            What the model gives for n texts.
        """
        inputs = {n: v.expand(len(embeddings), *v.shape[1:]) for n, v in self.inputs.items()}
        hook = self.table.register_forward_hook(lambda *_: embeddings)
        try:
            return self.model(**inputs, **self._options)
        finally:
            hook.remove()

    def look_up(self, token: int) -> Tensor:
        """Give the embedding of a token.

        Args:
            token: its id.

        Returns:
            [D].
        """
        with torch.no_grad():
            return self.table(torch.tensor([[token]], device=self.embeddings.device))[0, 0]
