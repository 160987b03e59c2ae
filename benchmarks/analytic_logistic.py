"""Closed-form softmax regression: one pass over the vectors, against scikit-learn.

Aims, for 50,000 float32 vectors of 768 features in ten classes, one thread, CPU time:

1. At least 3 times faster than LinearDiscriminantAnalysis(solver="lsqr"), which computes the same
   function, with probabilities at least as close to those in float64.
2. Likewise with 2 and with 119 classes, as the article's data have.

The vectors are normal with a covariance that the classes share, as the method assumes: that
accuracies are alike is to be expected here, and says nothing of real texts, for which see
analytic_classification. The solver "svd", ridge regression on the labels and 100 steps of logistic
regression are timed beside, once, for what people would use instead. Peers get arrays with which
they need no copy.
"""

import argparse
import warnings

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from timing import interleaved, write_json

from kexue.numerics.analytic_logistic import AnalyticLogisticRegression

TESTS = [
    "tests/numerics/test_labelled_rows.py",
    "tests/numerics/test_class_sums.py",
    "tests/numerics/test_class_moments.py",
    "tests/numerics/test_analytic_softmax.py",
    "tests/numerics/test_class_scores.py",
    "tests/numerics/test_analytic_logistic.py",
]


def draw(rows: int, width: int, classes: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features with spreads from 2 to 0.2, a mean of 3, and classes some way apart."""
    random = np.random.default_rng(seed)
    y = random.integers(classes, size=rows)
    x = random.standard_normal((rows, width), dtype=np.float32)
    x += 0.08 * random.standard_normal((classes, width), dtype=np.float32)[y]
    x *= np.linspace(2, 0.2, width, dtype=np.float32)
    x[:, 1:] += 0.3 * x[:, :-1]
    return x + np.float32(3), y


def lsqr(x: np.ndarray, y: np.ndarray) -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)


def logistic(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=100).fit(x, y)


def quality(x: np.ndarray, y: np.ndarray, unseen: tuple[np.ndarray, np.ndarray]) -> dict:
    """Compare what is computed with the same in float64, and accuracies on new vectors."""
    new, answers = unseen
    exact = AnalyticLogisticRegression().fit(x.astype(np.float64), y)
    expected = exact.predict_proba(new.astype(np.float64))
    models = {"kexue": AnalyticLogisticRegression().fit(x, y), "LDA lsqr": lsqr(x, y)}
    return {
        name: {
            "probability_error": float(abs(model.predict_proba(new) - expected).max()),
            "accuracy": float(np.mean(model.predict(new) == answers)),
        }
        for name, model in models.items()
    }


def compare(options: argparse.Namespace, classes: int) -> dict:
    """Time fits of one set of vectors."""
    rows, width = options.rows, options.width
    x, y = draw(rows + 2000, width, classes, seed=0)
    x, y, unseen = x[2000:], y[2000:], (x[:2000], y[:2000])
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    methods = {
        "kexue": lambda: AnalyticLogisticRegression().fit(x, y),
        "kexue, tensor": lambda: AnalyticLogisticRegression().fit(*tensors),
        "kexue, double": lambda: AnalyticLogisticRegression(double=True).fit(x, y),
        "LDA lsqr": lambda: lsqr(x, y),
    }
    times = interleaved(methods, rounds=options.rounds)
    if classes == options.classes[0] and not options.short:
        slow = {
            "LDA svd": lambda: LinearDiscriminantAnalysis(solver="svd").fit(x, y),
            "ridge": lambda: RidgeClassifier().fit(x, y),
            "logistic, 100 steps": lambda: logistic(x, y),
        }
        times |= interleaved(slow, rounds=1, warmup=0)
    found = {"rows": rows, "classes": classes, "quality": quality(x, y, unseen)}
    return found | {"time": {name: timing.to_dict() for name, timing in times.items()}}


def show(found: dict) -> None:
    print(f"{found['rows']} vectors, {found['classes']} classes")
    for name, timing in found["time"].items():
        ratio = timing["cpu"] / found["time"]["kexue"]["cpu"]
        print(f"  {name:20} {timing['cpu']:8.3f} s, kexue is {ratio:6.2f} times as fast")
    for name, figures in found["quality"].items():
        error, accuracy = figures["probability_error"], figures["accuracy"]
        print(f"  {name:20} probabilities off by {error:.1e}, accuracy {accuracy:.4f}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 2, 119])
    parser.add_argument("--short", action="store_true", help="without the slower peers")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    result = {"seed": 0, "width": options.width, "fits": []}
    for classes in options.classes:
        result["fits"].append(compare(options, classes))
        show(result["fits"][-1])
    write_json(options.json, result)


if __name__ == "__main__":
    main()
