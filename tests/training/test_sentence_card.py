import pytest
from huggingface_hub import ModelCard

from kexue.training.sentence_card import SentenceCard, write_sentence_card

SPREAD = {"std": 0.4, "effective_rank": 20.5, "mean_cosine": 0.8}
CARD = SentenceCard(
    "a|b",
    dimension=256,
    pooling="P4",
    window=128,
    before={"spearman": 0.5, **SPREAD},
    after={"spearman": 0.75, **SPREAD},
    facts={"objective": "cosent", "encoder": "m*ni"},
    base_model="org/base",
    dataset="pairs",
)


def test_the_card_tells_what_is_known(tmp_path):
    path = write_sentence_card(tmp_path, CARD)
    text = path.read_text("utf-8")
    assert "| Spearman correlation of the cosine, x 100 | 50.00 | **75.00** |" in text
    assert "effective rank, of 256 | 20.5 |" in text
    assert r"# a\|b" in text
    assert r"| encoder | m\*ni |" in text
    data = ModelCard.load(path).data
    assert data.pipeline_tag == "sentence-similarity"
    assert data.base_model == "org/base"
    assert data.eval_results[0].metric_value == 0.75


@pytest.mark.parametrize("after", [{}, SPREAD])
def test_without_labels_there_is_no_correlation(tmp_path, after):
    card = SentenceCard("x", 8, "P3", 64, SPREAD, after)
    text = write_sentence_card(tmp_path, card).read_text("utf-8")
    assert "Spearman" not in text
    assert ("standard deviation" in text) == bool(after)
    assert ModelCard.load(tmp_path / "README.md").data.eval_results is None
