from kexue.cli.show_labels import show_label, show_label_scores
from kexue.metrics.classification import classification_scores
from kexue.tasks.classification import PredictedLabel


def test_the_likeliest_labels_stand_below_the_text(capsys):
    shares = {"a": 0.1, "[red]b": 0.5, "c": 0.1, "d": 0.1, "e": 0.1, "f": 0.06, "g": 0.04}
    show_label(["one\ntext", "another"], PredictedLabel("[red]b", 0.5, shares))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["one text", "another"]
    assert lines[2].split() == ["0.500", "█" * 10, "[red]b"]
    assert len(lines) == 8
    assert lines[-1].split() == ["and", "2", "labels", "less", "likely"]


def test_scores_and_confusion(capsys):
    scores = classification_scores(["a", "a", "[b]"], ["a", "[b]", "[b]"])
    show_label_scores(scores, title="dev.tsv: 3 texts")
    printed = capsys.readouterr().out
    for word in ("dev.tsv: 3 texts", "precision", "[b]", "accuracy 0.6667", "Rows are gold"):
        assert word in printed


def test_a_wide_confusion_is_left_to_the_report(capsys):
    labels = [f"label {k:02}" for k in range(20)]
    show_label_scores(classification_scores(labels, labels), title="x")
    printed = capsys.readouterr().out
    assert "Rows are gold" not in printed
    assert "label 19" in printed
