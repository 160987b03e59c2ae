"""Words and trees that an encoder knows of without having been taught: from a text to a picture.

Post: https://kexue.fm/archives/7476
Axes: N units of a text: Chinese characters, words of other scripts, signs
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.analysis.constituency import Tree, parse_constituents
from kexue.analysis.dependency_trees import parse_tree
from kexue.analysis.impact_arrays import square_array
from kexue.analysis.impact_drawing import draw_impact
from kexue.analysis.perturbed_masking import impact_matrix, neighbour_impacts
from kexue.analysis.segmentation import neighbour_strength
from kexue.analysis.text_units import join_characters, split_units
from kexue.analysis.tree_drawing import draw_tree
from kexue.models import encoder_place, load_encoder, load_tokenizer, longest_input
from kexue.models.staging import stage_encoder


@dataclass(frozen=True)
class TextStructure:
    """What an encoder was found to know of a text.

    Attributes:
        units: the N units, whose impact on each other was measured.
        impact: [N, N] how much the unit of a column matters for that of a row.
        words: the units, Chinese characters put together to words.
        heads: the head of each unit, -1 for the root.
        constituents: the units as numbers in nested pairs.
        passes: masked copies of the text that the encoder read.

    Example:
        >>> impact, words = np.zeros((2, 2)), ["花", "开"]
        >>> print(TextStructure(words, impact, words, [1, -1], (0, 1), 3))
        words         花 开
        heads         花<开 开<-
        constituents  [花 开]
    """

    units: list[str]
    impact: NDArray[np.floating]
    words: list[str]
    heads: list[int]
    constituents: Tree
    passes: int

    def __str__(self) -> str:
        over = [self.units[head] if head >= 0 else "-" for head in self.heads]
        heads = (f"{unit}<{head}" for unit, head in zip(self.units, over, strict=True))
        rows = {
            "words": " ".join(self.words),
            "heads": " ".join(heads),
            "constituents": self._bracket(self.constituents),
        }
        return "\n".join(f"{name:13} {row}" for name, row in rows.items())

    def _bracket(self, tree: Tree) -> str:
        if isinstance(tree, int):
            return self.units[tree]
        return f"[{' '.join(map(self._bracket, tree))}]"

    def to_dict(self) -> dict[str, object]:
        """Give everything as a JSON object.

        Returns:
            Fields by name, the matrix as lists of rows.
        """
        return {**vars(self), "impact": self.impact.tolist()}

    def draw(self, folder: str | Path) -> list[Path]:
        """Write the heat map and the dependency tree as pictures.

        Args:
            folder: an existing folder, for impact.png and tree.png.

        Returns:
            The two paths.

        Raises:
            ImportError: if matplotlib is missing.
        """
        folder = Path(folder)
        return [
            draw_impact(self.impact, self.units, folder / "impact.png"),
            draw_tree(self.heads, self.units, folder / "tree.png"),
        ]


def probe_structure(
    text: str, *, encoder: str = "mini", layers: int | None = None
) -> TextStructure:
    """Find the words and trees of a text in what an encoder makes of it.

    Args:
        text: a sentence; N units take N (N + 1) / 2 passes.
        encoder: "mini", or a folder or Hub name that AutoModel loads, of a masked language model.
        layers: how many of its layers to use, by default all.

    Returns:
        The structure.

    Raises:
        ValueError: if the text is empty or too long, or the encoder has no mask.

    Example:
        >>> probe_structure("今天很好").passes
        10
    """
    return StructureProbe.from_pretrained(encoder, layers=layers)(text)


class StructureProbe:
    """An encoder that is asked for the structure of one text after another.

    Args:
        model: the encoder, in evaluation mode.
        tokenizer: its tokenizer.
        layers: how many of its layers to use, by default all.
        autocast: run it in this dtype, such as torch.bfloat16: faster and less exact.

    Raises:
        ValueError: if there is no mask, or the encoder has fewer layers.

    Example:
        >>> probe = StructureProbe.from_pretrained("mini")
        >>> probe.impact(["今", "天"]).shape
        torch.Size([2, 2])
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        layers: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        if tokenizer.mask_token_id is None:
            fix = "Take a masked language model, such as BERT."
            raise invalid("tokenizer", tokenizer.name_or_path, "one with a [MASK] token", fix)
        self.encode = stage_encoder(model, layers=layers)
        self.tokenizer = tokenizer
        self.device = model.device
        self.longest = longest_input(model)
        self.autocast = autocast

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        layers: int | None = None,
        autocast: torch.dtype | None = None,
        device: str | None = None,
    ) -> "StructureProbe":
        """Load an encoder.

        Args:
            name: "mini", or a folder or Hub name that AutoModel loads.
            layers: how many of its layers to use, by default all.
            autocast: run it in this dtype.
            device: where to put it; a GPU where there is one, by default.

        Returns:
            The probe.
        """
        place = encoder_place(name)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = load_encoder(place).to(device).eval()
        return cls(model, load_tokenizer(place), layers=layers, autocast=autocast)

    def __call__(
        self, text: str | Sequence[str], *, threshold: float | None = None, method: str = "eisner"
    ) -> TextStructure:
        """Find the words and trees of a text.

        Args:
            text: a text, or its units.
            threshold: least impact of neighbours in a word, see `segment`; by default that which
                joins 42 % of the neighbouring Chinese characters of this text.
            method: of the dependency tree, see `parse_tree`.

        Returns:
            The structure.

        Raises:
            ValueError: if the text is empty or too long, or the method is unknown.
        """
        units = split_units(text) if isinstance(text, str) else list(text)
        impact = self.impact(units)
        words = join_characters(units, neighbour_strength(impact), threshold=threshold)
        matrix = square_array(impact)
        return TextStructure(
            units,
            matrix,
            ["".join(units[start:end]) for start, end in words],
            parse_tree(matrix, method=method),
            parse_constituents(matrix),
            len(units) * (len(units) + 1) // 2,
        )

    def impact(self, units: Sequence[str]) -> Tensor:
        """Compute the impact of units on each other.

        Args:
            units: N words or characters.

        Returns:
            [N, N], see `impact_matrix`.

        Raises:
            ValueError: if there are no units, or too many.
        """
        ids, spans = self._tokens(units)
        options = {"mask_id": self.tokenizer.mask_token_id, "autocast": self.autocast}
        return impact_matrix(self.encode, ids, spans=spans, **options)

    def neighbours(self, units: Sequence[str]) -> Tensor:
        """Compute the impact of neighbours on each other, in 2 N - 1 passes.

        Args:
            units: N words or characters.

        Returns:
            [N - 1], see `neighbour_impacts`.

        Raises:
            ValueError: if there are no units, or too many.
        """
        ids, spans = self._tokens(units)
        options = {"mask_id": self.tokenizer.mask_token_id, "autocast": self.autocast}
        return neighbour_impacts(self.encode, ids, spans=spans, **options)

    def _tokens(self, units: Sequence[str]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Turn units into ids [L] and the tokens of each unit."""
        if not len(units):
            raise invalid("text", units, "a text with words")
        coded = self.tokenizer(list(units), is_split_into_words=True)
        lost = set(range(len(units))) - set(coded.word_ids())
        if lost:
            # What the tokenizer has no token for, such as a control character, keeps its place.
            kept = [self.tokenizer.unk_token if i in lost else u for i, u in enumerate(units)]
            coded = self.tokenizer(kept, is_split_into_words=True)
        words, ids = coded.word_ids(), coded["input_ids"]
        if len(ids) > self.longest:
            fix = "Cut it into sentences."
            raise invalid("text", f"{len(ids)} tokens", f"at most {self.longest}", fix)
        spans = [(words.index(i), len(words) - words[::-1].index(i)) for i in range(len(units))]
        return torch.tensor(ids, device=self.device), spans
