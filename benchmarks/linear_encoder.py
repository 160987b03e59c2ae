"""A trained encoder's softmax swapped for Performer's random features, and trained on a little.

`mini` keeps its weights. What is asked: how many hidden tokens it names right after the swap, how
many of the lost ones a short training brings back, beside softmax trained on as long, and from
which length on it is faster. It prints what was reached.

The texts lie in ../shared/data (see DATASETS.md there) and are not part of the project.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from timing import one_thread, write_json

from kexue.models import KexueForMaskedLM, mini
from kexue.models.messages import quiet
from kexue.tasks.pretraining import PretrainingSettings, masked_scores, pretrain
from kexue.tasks.pretraining_corpus import encode_corpus
from kexue.training.arguments import TaskTrainingArguments

TESTS = ["tests/attention/test_performer.py", "tests/models/test_encoder.py"]
TIMED = False
CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
FILES = ("lctt_zh.txt.xz", "dotnet_docs_zh.txt.xz")
LENGTHS = (512, 2048, 8192)


@torch.no_grad()
def seconds_a_row(model: KexueForMaskedLM, length: int) -> float:
    """Time the encoder on one row, the best of three."""
    ids = torch.randint(300, 8000, (1, length), generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(4):
        start = time.perf_counter()
        model.model(ids)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--tokens", type=int, default=1_500_000, help="of the training after")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--cache", default="linear-encoder-cache", help="folder of encoded texts")
    options = parser.parse_args(argv)
    if not CORPORA.is_dir():
        raise SystemExit("../shared/data is absent: there is nothing to run on")
    quiet()
    trained, tokenizer = mini()
    files = [CORPORA / name for name in FILES]
    corpus = encode_corpus(files, tokenizer, options.cache, skipped=[])
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        start = Path(folder, "start")
        trained.save_pretrained(start)
        swap = {"attention": "performer", "performer_features": options.features}
        swapped = KexueForMaskedLM.from_pretrained(start, **swap).eval()
        swapped.save_pretrained(start)
        settings = PretrainingSettings(
            encoder=str(start), length=128, tokens=options.tokens, tokens_per_step=4096
        )
        args = TaskTrainingArguments(
            folder,
            learning_rate=options.rate,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            seed=0,
            save_strategy="no",
            logging_steps=0.1,
            report_to="none",
            disable_tqdm=True,
        )
        models = {"softmax": trained, "swapped": swapped}
        scores = {}
        for name, model in models.items():
            scores[name] = masked_scores(model, corpus[1], tokenizer, settings=settings)
            print(name, scores[name], flush=True)
        tuned = pretrain(*corpus, tokenizer, settings=settings, args=args)
        scores["trained on"] = masked_scores(tuned, corpus[1], tokenizer, settings=settings)
        print("trained on", scores["trained on"], flush=True)
        # Softmax once more, trained on as long: what the texts alone are worth.
        trained.save_pretrained(start)
        beside = pretrain(*corpus, tokenizer, settings=settings, args=args)
        scores["softmax, trained on"] = masked_scores(
            beside, corpus[1], tokenizer, settings=settings
        )
        print("softmax, trained on", scores["softmax, trained on"], flush=True)
        speed = {str(n): seconds_a_row(trained, n) / seconds_a_row(swapped, n) for n in LENGTHS}
    print("times as fast as softmax:", speed)
    result = {"tokens": options.tokens, "features": options.features}
    write_json(options.json, {**result, "held-out": scores, "times as fast": speed})


if __name__ == "__main__":
    main()
