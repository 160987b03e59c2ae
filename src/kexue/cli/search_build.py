"""From files of texts to a search index, a batch at a time, so that a killed run goes on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kexue.cli.counting import counting
from kexue.cli.search_model import model_facts, refuse_other_model, refuse_other_weights

if TYPE_CHECKING:
    from kexue.sentences.search import SearchIndex

_STRETCH = 64  # batches of the encoder that are committed together


def build_index(
    folder: Path,
    files: Sequence[Path],
    *,
    model: str | None,
    batch_size: int,
    unique: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Add the texts of files to an index, which is made where it is missing.

    How far each file was read is committed together with the vectors of its texts.

    Args:
        folder: of the index.
        files: a text a line, or JSON lines.
        model: the name of the sentence encoder; that of the index by default.
        batch_size: texts at a time.
        unique: leave out texts that are there already.
        as_json: keep standard output free.

    Returns:
        What came out, as a JSON object.

    Raises:
        ValueError: if a file is broken or was changed, or the model is not that of the index.
    """
    from kexue.data.unread_lines import ReadingPlace, unread_stretches
    from kexue.sentences.transactions import alone

    if batch_size < 1:
        raise ValueError(f"--batch-size is {batch_size}; allowed: a whole number of at least 1.")
    # All lines are read before any is encoded: a broken one is found in seconds, not in hours.
    totals = {file.resolve(): _count(file) for file in files}
    index, encoder = _opened(folder, model, unique)
    with alone(folder / "adding.lock", "adding to the index"):
        notes = index.store.notes()
        read = {file: ReadingPlace(**notes.get(str(file), {})) for file in totals}
        begun, before = len(index), sum(place.texts for place in read.values())
        after = before
        total = max(before, sum(totals.values()))
        with counting("embedding", "texts", total, done=before, as_json=as_json) as count:
            for file, place in read.items():
                for texts, reached in unread_stretches(file, place, _STRETCH * batch_size):
                    vectors = encoder(texts, batch_size=batch_size)
                    index.add(texts, vectors, notes={str(file): reached.to_dict()})
                    count(len(texts))
                    after += len(texts)
        with readable_extra():
            index.build()
    added = len(index) - begun
    return {
        "index": str(folder),
        "texts": len(index),
        "added": added,
        "left_out": after - before - added,
        "model": index.facts.get("model"),
    }


def load_encoder(facts: dict[str, Any], model: str | None) -> Any:
    """Load the model that an index was built with.

    Args:
        facts: of the index.
        model: where it lies; where it lay by default.

    Returns:
        The sentence encoder.

    Raises:
        ValueError: if it is missing, or another one.
    """
    name = model or facts.get("model")
    if name is None:
        raise ValueError("The index does not say which model it is of. Give --model FOLDER.")
    if Path(name).is_absolute() and not Path(name).exists():
        raise ValueError(f"{name}: the model is not there. Say where it lies: --model FOLDER.")
    refuse_other_weights(facts, name)
    encoder = _load(name)
    refuse_other_model(facts, name, encoder)
    return encoder


@contextmanager
def readable_extra() -> Iterator[None]:
    """Turn a missing extra into a readable error.

    Raises:
        ValueError: in place of ImportError.

    Example:
        >>> with readable_extra():
        ...     raise ImportError("Install faiss.")
        Traceback (most recent call last):
        ValueError: Install faiss.
    """
    try:
        yield
    except ImportError as error:
        raise ValueError(str(error)) from None


def _load(name: str) -> Any:
    import kexue
    from kexue.models.messages import quiet

    quiet()
    return kexue.SentenceEncoder.from_pretrained(name)


def _opened(folder: Path, model: str | None, unique: bool) -> "tuple[SearchIndex, Any]":
    from kexue.sentences.search import SearchIndex

    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        index = SearchIndex.open(folder)
        if unique and not index.form.unique:
            raise ValueError(
                f"{folder}: the index was made without --unique. Leave it out, or build another."
            )
        return index, load_encoder(index.facts, model)
    if model is None:
        raise ValueError(f"{folder}: a new index needs a sentence encoder. Give --model FOLDER.")
    encoder = _load(model)
    facts = model_facts(model, encoder)
    dimension = len(facts["probes"][0])
    index = SearchIndex.create(folder, dimension=dimension, unique=unique, facts=facts)
    return index, encoder


def _count(file: Path) -> int:
    from kexue.data.text_lines import text_lines

    return sum(1 for _ in text_lines(file))
