"""Training of sentence vectors on texts whose meaning is plain to see."""

import random

import pytest
import torch

from kexue.metrics import spearman
from kexue.models import scratch_encoder, scratch_tokenizer
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.embedding_data import TextGroup
from kexue.tasks.embedding_training import EmbeddingSettings, scorer, train_embeddings
from kexue.training.arguments import TaskTrainingArguments

TOPICS = ["abcd", "efgh", "ijkl", "mnop"]


def sentence(rng, topic):
    """Some letters of a topic among others of any topic."""
    letters = rng.choices(TOPICS[topic], k=rng.randint(3, 6)) + rng.choices("".join(TOPICS), k=4)
    rng.shuffle(letters)
    return " ".join(letters)


def pairs(count, seed=0):
    """Pairs of sentences of the same topic, label 1, or of two topics, label 0."""
    rng = random.Random(seed)
    groups = []
    for number in range(count):
        topic = rng.randrange(4)
        other = topic if number % 2 else (topic + rng.randint(1, 3)) % 4
        groups.append(TextGroup((sentence(rng, topic), sentence(rng, other)), float(number % 2)))
    return groups


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    tokenizer = scratch_tokenizer([" ".join(TOPICS[0] + "".join(TOPICS))] * 2, unit="character")
    scratch_encoder(len(tokenizer), layers=1, width=64).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def train(folder, where, objective, groups, dev=(), steps=25, **options):
    args = TaskTrainingArguments(
        str(where),
        max_steps=steps,
        per_device_train_batch_size=32,
        learning_rate=1e-3,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        average_decay=0.9 if objective == "byol" else None,
        **options,
    )
    settings = EmbeddingSettings(encoder=folder, objective=objective, tokens_per_chunk=200)
    return train_embeddings(groups, dev, settings=settings, args=args)


@pytest.mark.parametrize("objective", ["cosent", "sentence-bert", "infonce"])
def test_meaning_is_learnt_from_pairs(folder, tmp_path, objective):
    groups = pairs(300)
    if objective == "infonce":
        groups = [TextGroup(group.texts) for group in groups if group.label]
    dev = pairs(80, seed=1)
    run = train(folder, tmp_path, objective, groups, dev)
    assert run.after["spearman"] > run.before["spearman"] + 0.04
    assert run.encoder.model.objective is None
    assert run.longer == 0


def test_views_of_one_text_are_pulled_together_and_others_apart(folder, tmp_path):
    groups = [TextGroup((group.texts[0],)) for group in pairs(300)]
    run = train(folder, tmp_path, "simcse", groups, pairs(80, seed=1))
    assert run.after["mean_cosine"] < run.before["mean_cosine"] - 0.1
    assert run.after["effective_rank"] > run.before["effective_rank"]


@pytest.mark.parametrize("objective", ["simsiam", "byol"])
def test_without_negatives_nothing_collapses(folder, tmp_path, objective):
    groups = [TextGroup((group.texts[0],)) for group in pairs(300)]
    run = train(folder, tmp_path, objective, groups, steps=15)
    assert "spearman" not in run.after
    assert run.after["std"] > 0.2 * run.before["std"]
    assert set(run.after) == {"std", "effective_rank", "mean_cosine"}


def test_scores_are_the_correlation_of_cosines(folder):
    encoder = SentenceEncoder.from_pretrained(folder, pooling="P3")
    dev = pairs(40, seed=2)
    found = scorer(encoder.tokenizer, dev, [])(encoder.model)
    u = encoder([group.texts[0] for group in dev], normalize=True)
    v = encoder([group.texts[1] for group in dev], normalize=True)
    expected = spearman((u * v).sum(1), [group.label for group in dev])
    assert found["spearman"] == pytest.approx(expected)


def test_training_goes_on_with_a_sentence_encoder(folder, tmp_path):
    first = train(folder, tmp_path, "cosent", pairs(100), pairs(40, seed=1), steps=5)
    first.encoder.save_pretrained(tmp_path / "model")
    second = train(str(tmp_path / "model"), tmp_path, "cosent", pairs(100), pairs(40, seed=1))
    assert second.before["spearman"] == pytest.approx(first.after["spearman"])


def test_training_goes_on_with_a_whitened_model(folder, tmp_path):
    whitened = SentenceEncoder.from_pretrained(folder, pooling="P4", window=40)
    whitened.model.encoder.config.hidden_dropout = 0.0
    whitened.model.set_projection(torch.nn.Linear(64, 16))
    whitened.save_pretrained(tmp_path / "model")
    groups = [TextGroup((group.texts[0],)) for group in pairs(100)]
    run = train(str(tmp_path / "model"), tmp_path, "simcse", groups, steps=3)
    config = run.encoder.model.config
    assert (config.pooling, config.window, config.dimension) == ("P4", 40, 16)
    # Without it the two views of a text are the same, and there is nothing to learn.
    assert config.encoder_config.hidden_dropout == 0.1


@pytest.mark.parametrize(
    ("objective", "groups", "says"),
    [
        ("cosent", [TextGroup(("a", "b"))] * 3, "take --objective infonce"),
        ("sentence-bert", [TextGroup(("a", "b"))] * 3, "labels for 'sentence-bert'"),
        ("infonce", [TextGroup(("a",))] * 3, "Take --objective simcse"),
        ("simcse", [TextGroup(("a",))], "2 or more"),
        ("triplet", pairs(4), "objective is 'triplet'"),
    ],
)
def test_groups_that_do_not_suit_the_objective_are_refused(
    folder, tmp_path, objective, groups, says
):
    with pytest.raises(ValueError, match=says):
        train(folder, tmp_path, objective, groups)
