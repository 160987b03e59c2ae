"""What a pre-training reads: the files, and the tokenizer that cuts them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.data.corpora import read_texts
from kexue.models import encoder_place, load_tokenizer, train_tokenizer


@dataclass(frozen=True)
class PretrainingTexts:
    r"""Files of texts; each iteration reads them anew.

    Args:
        files: what `kexue.data.corpora.read_texts` reads.
        tokenizer: a folder or Hub name; None takes that of the encoder, and learns one for a new
            encoder.
        vocab_size: entries of a tokenizer that is learnt.
        characters: how many of its entries are characters.
        held_out: one text in so many is kept apart for measuring.
        skip_bad: leave broken lines out instead of stopping at the first.

    Raises:
        ValueError: if there are no files, or a number is out of its range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     _ = file.write_text("一\n\n二\n", encoding="utf-8")
        ...     list(PretrainingTexts([file, file]))
        ['一', '二', '一', '二']
    """

    files: Sequence[str | Path]
    tokenizer: str | None = None
    vocab_size: int = 8000
    characters: int = 5500
    held_out: int = 200
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise invalid("texts", [], "one file or more")
        if self.held_out < 2:
            raise invalid("held_out", self.held_out, "2 or more, such as 200")

    def __iter__(self) -> Iterator[str]:
        for path in self.files:
            yield from read_texts(path, skipped=[] if self.skip_bad else None)

    def given_tokenizer(self, encoder: str) -> PreTrainedTokenizerBase | None:
        """Load the tokenizer that need not be learnt.

        Args:
            encoder: "new", "mini", or a folder or Hub name.

        Returns:
            The tokenizer, or None where it has to be learnt.

        Raises:
            ValueError: if there is none, or it is not a fast one.
        """
        if self.tokenizer is not None:
            return load_tokenizer(encoder_place(self.tokenizer))
        return None if encoder == "new" else load_tokenizer(encoder_place(encoder))

    def learnt_tokenizer(self) -> PreTrainedTokenizerBase:
        """Learn a tokenizer from the texts; the same texts give the same one.

        Returns:
            The tokenizer.

        Raises:
            DataError: a file cannot be read, or a line is broken.
        """
        return train_tokenizer(self, vocab_size=self.vocab_size, characters=self.characters)
