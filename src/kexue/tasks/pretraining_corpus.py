"""A corpus as two arrays on disk: token ids, and which of them begin a word.

Tokenising is done once; training reads the arrays through the page cache, so a corpus may be larger
than memory. Texts follow each other, each ended by the separator token.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.data.corpora import read_texts
from kexue.data.records import DataError
from kexue.training.atomic import write_atomically

_PARTS = ("train", "dev")
_ARRAYS = [f"{part}.{kind}" for part in _PARTS for kind in ("ids", "starts")]
_SKIPPED, _DONE = "skipped.txt", "corpus.json"


@dataclass(frozen=True)
class TokenStream:
    """Token ids one after the other.

    Attributes:
        ids: [N] integers.
        starts: [N] bool, True where a word begins.

    Example:
        >>> len(TokenStream(np.array([5, 6, 3]), np.array([True, False, True])))
        3
    """

    ids: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def file_facts(path: str | Path) -> dict[str, Any]:
    """Say what a file is, to know it again wherever it lies.

    Args:
        path: the file.

    Returns:
        Its "name", "bytes" and "sha256".

    Raises:
        DataError: the file cannot be read.

    Example:
        >>> file_facts("none.txt")
        Traceback (most recent call last):
        kexue.data.records.DataError: none.txt: the file cannot be read (No such file ...
    """
    digest = sha256()
    size = 0
    try:
        with Path(path).open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
                size += len(block)
    except OSError as error:
        reason = f"the file cannot be read ({error.strerror})"
        raise DataError(Path(path), None, reason, "Check the path.") from None
    return {"name": Path(path).name, "bytes": size, "sha256": digest.hexdigest()}


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Say what a tokenizer is, to know it again.

    Args:
        tokenizer: a fast tokenizer.

    Returns:
        The SHA-256 of all that decides how it cuts texts.

    Example:
        >>> from kexue.models import train_tokenizer
        >>> one, other = (train_tokenizer(["a b"] * 2, vocab_size=270) for _ in range(2))
        >>> tokenizer_hash(one) == tokenizer_hash(other)
        True
    """
    spelt = json.loads(tokenizer.backend_tokenizer.to_str())
    # Calls leave traces in these two.
    spelt |= {"truncation": None, "padding": None}
    return sha256(json.dumps(spelt, sort_keys=True).encode()).hexdigest()


def encode_corpus(
    paths: Sequence[str | Path],
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    *,
    held_out: int = 200,
    skipped: list[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[TokenStream, TokenStream]:
    r"""Tokenise texts into a folder, or find there what an earlier call has left.

    Args:
        paths: files that `read_texts` reads.
        tokenizer: a fast tokenizer.
        folder: where the arrays go.
        held_out: one text in so many is kept apart for measuring.
        skipped: where broken lines are noted, those that an earlier call has left out too; without
            it they are raised.
        progress: told the number of tokens after each batch of texts.

    Returns:
        The stream to train on and the stream to measure on.

    Raises:
        DataError: a file cannot be read.
        ValueError: if the files hold too few texts for both streams, or `held_out` is below 2.

    Example:
        >>> import tempfile
        >>> from kexue.models import train_tokenizer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     text = Path(folder, "a.txt")
        ...     _ = text.write_text("in Beijing\n\n" * 4)
        ...     tokenizer = train_tokenizer(["in Beijing"] * 2, vocab_size=290)
        ...     train, dev = encode_corpus([text], tokenizer, folder, held_out=4)
        ...     len(train), len(dev)
        (9, 3)
    """
    if held_out < 2:
        raise invalid("held_out", held_out, "2 or more, such as 200")
    folder = Path(folder)
    about = _fingerprint(paths, tokenizer, held_out)
    done = folder / _DONE
    whole = all((folder / name).is_file() for name in (done.name, _SKIPPED, *_ARRAYS))
    if not (whole and json.loads(done.read_text("utf-8")) == about):
        folder.mkdir(parents=True, exist_ok=True)
        faults: list[str] | None = None if skipped is None else []
        texts = (text for path in paths for text in read_texts(path, skipped=faults))
        _write(texts, tokenizer, folder, held_out, progress)
        write_atomically(folder / _SKIPPED, "".join(f"{fault}\n" for fault in faults or ()))
        write_atomically(done, json.dumps(about, indent=2) + "\n")
    if skipped is not None:
        skipped += (folder / _SKIPPED).read_text("utf-8").splitlines()
    train, dev = (_open(folder, part, _dtype(tokenizer)) for part in _PARTS)
    if not len(train) or not len(dev):
        raise invalid(
            "texts",
            [str(path) for path in paths],
            f"files with at least {held_out} texts, of which one is held out",
            "A blank line ends a text of a plain-text file; of few texts hold out one in 10.",
        )
    return train, dev


def _dtype(tokenizer: PreTrainedTokenizerBase) -> np.dtype:
    return np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32)


def _fingerprint(
    paths: Sequence[str | Path], tokenizer: PreTrainedTokenizerBase, held_out: int
) -> dict[str, Any]:
    """Say what the arrays come from, to know them again."""
    return {
        "files": [file_facts(path) for path in paths],
        "tokenizer": tokenizer_hash(tokenizer),
        "held_out": held_out,
    }


def _write(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    held_out: int,
    progress: Callable[[int], None] | None,
) -> None:
    """Append the tokens of each text to the arrays of its part; put these in place at the end."""
    beside = {name: folder / f".{name}.{os.getpid()}.tmp" for name in _ARRAYS}
    # A process that was killed leaves its own behind.
    for left in folder.glob(".*.tmp"):
        left.unlink()
    total = 0
    try:
        with ExitStack() as stack:
            files = {name: stack.enter_context(path.open("wb")) for name, path in beside.items()}
            for number, (ids, starts) in enumerate(_tokens(texts, tokenizer)):
                part = "dev" if number % held_out == held_out - 1 else "train"
                files[f"{part}.ids"].write(ids.tobytes())
                files[f"{part}.starts"].write(starts.tobytes())
                total += len(ids)
                if progress is not None and number % 64 == 63:
                    progress(total)
        # From here on the arrays are those of two corpora.
        (folder / _DONE).unlink(missing_ok=True)
        for name, path in beside.items():
            path.replace(folder / name)
    finally:
        for path in beside.values():
            path.unlink(missing_ok=True)


def _tokens(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    dtype = _dtype(tokenizer)
    texts = iter(texts)
    while batch := list(islice(texts, 64)):
        encoded = tokenizer(batch, add_special_tokens=False, verbose=False)
        for row, ids in enumerate(encoded["input_ids"]):
            words = np.array([-1, *encoded.word_ids(row), -2], dtype=np.int64)
            yield np.array([*ids, tokenizer.sep_token_id], dtype), words[1:] != words[:-1]


def _open(folder: Path, part: str, dtype: np.dtype) -> TokenStream:
    def array(name: str, kind: np.dtype) -> np.ndarray:
        path = folder / f"{part}.{name}"
        # Nothing cannot be mapped into memory.
        return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)

    return TokenStream(array("ids", dtype), array("starts", np.dtype(bool)))
