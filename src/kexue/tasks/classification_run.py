"""A training of a classifier as a folder: what was asked for, what happened, the model.

run.json        settings, training arguments, data, versions: everything resolved
metrics.jsonl   a line for each log and evaluation
checkpoints/    what an interrupted run goes on from; a closed form has none
model/          the classifier: the folder to send on
scores.json     figures on the development set
report.html     one self-contained page
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from kexue.data.records import Corpus, DataError
from kexue.tasks.classification_data import (
    LabelledText,
    check_labels,
    labelled_texts,
    split_labelled,
)
from kexue.tasks.classification_model import ClassifierSettings
from kexue.tasks.classification_training import ClassifierRun, train_classifier
from kexue.tasks.ner_model import SCRATCH
from kexue.tasks.run_folder import (
    as_json,
    hub_name,
    point_to_resume,
    run_arguments,
    versions,
    whole_folder,
    write_plan,
)
from kexue.training.atomic import write_atomically
from kexue.training.classifier_card import ClassifierCard, write_classifier_card
from kexue.training.log import MetricsLog, read_metrics
from kexue.training.mistakes import Mistake, worst_mistakes
from kexue.training.report import RunReport, write_report

# Evaluated, saved and compared by accuracy at every epoch.
_USUAL = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "logging_steps": 0.02,
    "load_best_model_at_end": True,
    "metric_for_best_model": "accuracy",
    "greater_is_better": True,
}
_SHOWN = 600  # characters of a text in the report


def run_classification(
    train: Corpus,
    dev: Corpus | None,
    folder: str | Path,
    *,
    settings: ClassifierSettings,
    options: dict[str, Any],
    dev_fraction: float = 0.1,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> ClassifierRun:
    """Train a text classifier into a run folder.

    Args:
        train: training records, with labels.
        dev: development records; None holds out a part of the training records.
        folder: where the run goes.
        settings: what is trained.
        options: fields of `TaskTrainingArguments` other than folders and strategies.
        dev_fraction: share to hold out where `dev` is None.
        resume: go on from the last whole checkpoint in the folder.
        callbacks: for progress.

    Returns:
        The finished run.

    Raises:
        ValueError: if the folder holds a run and `resume` is False, it holds another run, or the
            labels cannot be learnt; a label that the training set lacks is named with its line.
    """
    out = Path(folder)
    texts, held = labelled_split(train, dev, dev_fraction)
    args = run_arguments(out, options, usual=_USUAL)
    plan = {
        "task": "classification",
        "settings": asdict(settings),
        "options": options,
        "data": {
            "train": {"path": str(train.path), **_fingerprint(texts)},
            "dev": {"path": None if dev is None else str(dev.path), **_fingerprint(held)},
        },
        "versions": versions(),
    }
    checkpoint = point_to_resume(out, plan, resume=resume)
    run = train_classifier(
        texts,
        held,
        settings=settings,
        args=args,
        callbacks=[*callbacks, MetricsLog(path=out / "metrics.jsonl")],
        checkpoint=checkpoint,
        begin=lambda: write_plan(out, plan, args),
    )
    if args.should_save:
        _write(out, run, plan, held)
    return run


def labelled_split(
    train: Corpus, dev: Corpus | None, fraction: float
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Take texts and labels out of records, and hold some out where there is no development file.

    Args:
        train: training records.
        dev: development records, or None.
        fraction: share to hold out where `dev` is None.

    Returns:
        Training and development set.

    Raises:
        ValueError: if too few can be held out, or a development text has a label that no training
            text has; the error has its file and line.
    """
    texts = labelled_texts(train)
    if dev is None:
        check_labels(texts, [])  # which says more than that too few can be held out
        return split_labelled(texts, fraction)
    held = labelled_texts(dev)
    known = {label for _, label in texts}
    for index, (_, label) in enumerate(held):
        if label not in known:
            reason = f"the label {label!r} is nowhere in {train.path}"
            fix = "A classifier gives the labels it was trained on: add texts of it, or take it out"
            raise DataError(*dev.place(index), reason, f"{fix}.")
    return texts, held


def _fingerprint(part: Sequence[LabelledText]) -> dict[str, Any]:
    written = json.dumps(part, ensure_ascii=True).encode()
    return {"texts": len(part), "sha256": sha256(written).hexdigest()[:16]}


def _write(
    out: Path, run: ClassifierRun, plan: dict[str, Any], dev: Sequence[LabelledText]
) -> None:
    """Write model, card, figures and report; the model last, so that it is there only if all is."""
    config, data = run.classifier.model.config, plan["data"]
    log = out / "metrics.jsonl"
    if plan["settings"]["head"] == "analytic":
        figures = {f"eval_{name}": value for name, value in run.scores.to_dict().items()}
        line = {"step": 0, "epoch": 0, **figures, "train_runtime": run.seconds}
        write_atomically(log, json.dumps(line, ensure_ascii=False) + "\n")
    scores = {
        **run.scores.to_dict(),
        "labels": run.scores.table(),
        "confusion": [[*labels, count] for labels, count in run.scores.confusion.items()],
        "shortened": run.shortened,
        "seconds": run.seconds,
    }
    write_atomically(out / "scores.json", as_json(scores))
    title = f"Classification: {out.resolve().name}"
    facts = _facts(run, plan)
    report = RunReport(
        title,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        facts=facts,
        metrics=read_metrics(log),
        scores=run.scores,
        mistakes=_mistakes(run, dev),
    )
    write_report(report, out / "report.html")
    short = [text for text, _ in dev if len(text) < 100]
    measured = data["dev"]["path"] or data["train"]["path"]
    card = ClassifierCard(
        title,
        labels=config.labels,
        pooling=config.pooling,
        window=config.window,
        pairs=config.pairs,
        scores=run.scores,
        facts=facts,
        example=(short or [text for text, _ in dev])[0],
        base_model=hub_name(plan["settings"]["encoder"], made_here=(*SCRATCH, "mini")),
        dataset=("" if data["dev"]["path"] else "a held-out part of ") + Path(measured).stem,
    )
    with whole_folder(out / "model") as fresh:
        run.classifier.save_pretrained(fresh)
        write_classifier_card(fresh, card)


def _mistakes(run: ClassifierRun, dev: Sequence[LabelledText]) -> list[Mistake]:
    """The surest mistakes, a label being a span over the whole of what is shown of a text."""
    shown = []
    for text, _ in dev:
        whole = text if isinstance(text, str) else " | ".join(text)
        shown.append(whole if len(whole) <= _SHOWN else f"{whole[: _SHOWN - 4]} ...")
    gold = [[(0, len(s), label)] for s, (_, label) in zip(shown, dev, strict=True)]
    found = [[(0, len(s), p.label, p.score)] for s, p in zip(shown, run.predicted, strict=True)]
    return worst_mistakes(shown, gold, found)


def _facts(run: ClassifierRun, plan: dict[str, Any]) -> dict[str, str]:
    settings, data = plan["settings"], plan["data"]
    facts = {
        "encoder": Path(settings["encoder"]).name,
        "head": settings["head"],
        "pooling": settings["pooling"],
        "parameters": f"{run.classifier.model.num_parameters():,}",
        "training texts": f"{data['train']['texts']:,}",
        "development texts": f"{data['dev']['texts']:,}",
        "training time": f"{run.seconds:.0f} s",
    }
    if "analytic" in (settings["head"], settings["initial_head"]):
        facts["ridge"] = f"{settings['ridge']:g}"
    if settings["head"] == "softmax" and settings["initial_head"] != "random":
        facts["head before training"] = settings["initial_head"]
    if run.shortened:
        pieces = settings["training_pieces"]
        facts["longer texts"] = f"{run.shortened:,}, of which training saw {pieces} pieces each"
    return facts
