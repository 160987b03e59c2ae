"""A tiny model, its texts and a Trainer that is quick to make."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from kexue.training.arguments import TaskTrainingArguments
from kexue.training.trainer import TaskTrainer


@pytest.fixture
def make_model():
    def make(seed=0, dropout=0.1):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=64,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        return BertForSequenceClassification(config)

    return make


@pytest.fixture
def texts():
    """Sixty-one texts of 2 to 40 tokens; the label is whether token 5 occurs in it."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(2.2, 0.7, 61), 2, 40).astype(int)
    examples = []
    for length in lengths:
        ids = rng.integers(6, 30, length)
        if rng.random() < 0.5:
            ids[rng.integers(length)] = 5
        examples.append({"input_ids": ids.tolist(), "labels": int(5 in ids)})
    return examples


@pytest.fixture
def collate():
    """Pad a batch; every tensor's first axis is the text."""

    def pad(batch):
        width = max(len(text["input_ids"]) for text in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        for row, text in zip(ids, batch, strict=True):
            row[: len(text["input_ids"])] = torch.tensor(text["input_ids"])
        labels = torch.tensor([text["labels"] for text in batch])
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}

    return pad


@pytest.fixture
def make_trainer(tmp_path, make_model, texts, collate):
    def make(folder="run", *, model=None, lengths="known", options=None, **arguments):
        arguments = {"use_cpu": True, "save_strategy": "no", "report_to": "none", **arguments}
        arguments.setdefault("per_device_train_batch_size", 8)
        arguments.setdefault("learning_rate", 1e-3)
        args = TaskTrainingArguments(str(tmp_path / folder), **arguments)
        return TaskTrainer(
            None if (options or {}).get("model_init") else model or make_model(),
            args,
            lengths=[len(t["input_ids"]) for t in texts] if lengths == "known" else lengths,
            train_dataset=texts,
            data_collator=collate,
            **(options or {}),
        )

    return make
