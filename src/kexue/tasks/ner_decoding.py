"""From texts of any length to spans in characters: windows, batches sorted by length, a merge."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import PreTrainedTokenizerBase

from kexue.data.windows import cut_windows, merge_windows
from kexue.heads.flat import best_flat
from kexue.models import EntityModel
from kexue.tasks.ner_examples import Collator

FoundSpan = tuple[int, int, str, float]


@torch.no_grad()
def find_spans(
    model: EntityModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    thresholds: Sequence[float] | None = None,
    flat: bool | None = None,
    batch_size: int = 32,
    limit: int = 2000,
) -> Iterator[list[FoundSpan]]:
    """Find the spans of texts of any length.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.
        texts: the texts.
        thresholds: logit that a span of each type must exceed; the model's own by default.
        flat: keep the best set of spans that do not overlap; as the model was trained by default.
        batch_size: windows that go through the model at once.
        limit: most spans of a window, the best ones; it only ever bites on an untrained model.

    Yields:
        For each text, in order, its (start, end, label, logit) in characters, sorted. A CRF gives
        a probability in place of the logit.
    """
    config = model.config
    limits = thresholds or config.thresholds or [0.0] * len(config.labels)
    by_label = dict(zip(config.labels, limits, strict=True))
    flat = config.flat if flat is None else flat
    collate = Collator(tokenizer)
    # A stretch of texts at a time: long enough to sort by length, short enough to keep in memory.
    stretch = 64 * batch_size
    for begin in range(0, len(texts), stretch):
        part = texts[begin : begin + stretch]
        windows = list(cut_windows(part, tokenizer, window=config.window, overlap=config.overlap))
        order = sorted(range(len(windows)), key=lambda i: len(windows[i].input_ids))
        found: dict[int, list[tuple[int, int, str, float]]] = {}
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            batch = collate([windows[i] for i in chosen])
            batch = {name: value.to(model.device) for name, value in batch.items()}
            decoded = model.decode(**batch, threshold=limits, limit=limit)
            for i, spans in zip(chosen, decoded, strict=True):
                found[i] = [
                    (
                        windows[i].starts[s.start],
                        windows[i].ends[s.end],
                        config.labels[s.type],
                        s.score,
                    )
                    for s in spans
                ]
        numbered = groupby(range(len(windows)), key=lambda i: windows[i].text)
        for text, group in numbered:
            spans = merge_windows([(windows[i], found[i]) for i in group], len(part[text]))
            yield without_overlap(spans, by_label) if flat else spans


def find_everywhere(
    model: EntityModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    thresholds: Sequence[float] | None = None,
    flat: bool | None = None,
) -> list[list[FoundSpan]]:
    """Find spans with each process doing its share; every process gets all of them.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.
        texts: the same texts in every process.
        thresholds: logit that a span of each type must exceed; the model's own by default.
        flat: as in `find_spans`.

    Returns:
        What `find_spans` yields.
    """
    state = PartialState()
    mine = range(state.process_index, len(texts), state.num_processes)
    part = [texts[i] for i in mine]
    found = list(find_spans(model, tokenizer, part, thresholds=thresholds, flat=flat))
    if state.num_processes == 1:
        return found
    gathered = dict(gather_object(list(zip(mine, found, strict=True))))
    return [gathered[i] for i in range(len(texts))]


def without_overlap(spans: Sequence[FoundSpan], thresholds: Mapping[str, float]) -> list[FoundSpan]:
    """Keep the set of spans without overlap that is furthest above its thresholds in all.

    Args:
        spans: (start, end, label, score) of one text, each above its threshold.
        thresholds: by label.

    Returns:
        The spans that are kept, by place.

    Example:
        >>> spans = [(0, 2, "place", 2.0), (0, 5, "name", 3.0), (3, 5, "place", 2.0)]
        >>> without_overlap(spans, {"place": 0.0, "name": 0.0})
        [(0, 2, 'place', 2.0), (3, 5, 'place', 2.0)]
    """
    scored = [
        (k, s, e - 1, score - thresholds[kind]) for k, (s, e, kind, score) in enumerate(spans)
    ]
    return [spans[k] for k, _, _, _ in best_flat(scored)]
