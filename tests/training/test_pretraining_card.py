"""The card of a pre-trained encoder as the Hub and as a person reads it."""

from huggingface_hub import ModelCard

from kexue.training.pretraining_card import PretrainingCard, curve, write_pretraining_card

METRICS = [
    {"step": 5, "loss": 6.5},
    {"step": 10, "loss": 5.25},
    {"step": 10, "eval_accuracy": 0.125, "eval_loss": 5.5},
    {"step": 15, "loss": None},
    {"step": 20, "eval_accuracy": 0.25, "eval_loss": 4.5},
    {"step": 20, "train_runtime": 3.0},
]
FILES = [{"name": "a|b_c.txt", "bytes": 1234567, "sha256": "0a" * 32}]


def card(**options):
    usual = {"accuracy": 0.25125, "loss": 4.5, "facts": {"steps": "20 of 1,000 tokens"}}
    return PretrainingCard("mini", FILES, METRICS, 1000, **{**usual, **options})


def test_it_tells_texts_figures_and_curve(tmp_path):
    text = write_pretraining_card(tmp_path, card()).read_text("utf-8")
    assert "# mini\n" in text
    assert "**25.12 %** are named right" in text
    assert "| a\\|b\\_c.txt | 1,234,567 | " + "0a" * 32 + " |" in text
    assert "| 10,000 | 5.2500 | 12.50 | 5.5000 |\n| 20,000 | - | 25.00 | 4.5000 |\n" in text
    assert "| steps | 20 of 1,000 tokens |" in text
    assert "name their licences" in text


def test_the_hub_reads_its_metadata(tmp_path):
    write_pretraining_card(tmp_path, card(base_model="hfl/rbt3"))
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("kexue", "fill-mask")
    assert data.base_model == "hfl/rbt3"
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.2512)


def test_a_run_without_evaluations_has_no_curve(tmp_path):
    plain = PretrainingCard("mini", [], [], 1000, accuracy=0.5, loss=1.0)
    text = write_pretraining_card(tmp_path, plain).read_text("utf-8")
    assert "tokens seen" not in text
    assert "base_model" not in text


def test_a_curve_has_25_rows_at_most_and_ends_with_the_last():
    lines = [
        {"step": step, "loss": 1.0, "eval_accuracy": 0.1, "eval_loss": 2.0}
        for step in range(1, 778)
    ]
    for count in (1, 2, 24, 25, 26, 49, 777):
        found = [tokens for tokens, *_ in curve(lines[:count], tokens_per_step=10)]
        assert len(found) == min(count, 25)
        assert found == sorted(set(found))
        assert found[-1] == 10 * count


def test_a_step_that_was_measured_twice_is_one_row():
    lines = [{"step": 1, "eval_accuracy": a, "eval_loss": 2.0} for a in (0.1, 0.2)]
    assert curve(lines, tokens_per_step=10) == [(10, None, 0.2, 2.0)]
