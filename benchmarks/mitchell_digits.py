"""A network on scikit-learn's digits, trained with Mitchell products forward and backward.

Aims, mean test accuracy over the seeds:

1. Products of both directions by Mitchell ("mitchell"): within 1 point of the same network trained
   with exact products ("float"), on the same splits, initial weights and batches.
2. The same for the other gradients, "exact" and "straight", and for an offset of 0.0552.

64 inputs, one hidden layer of 48 with ReLU, 10 classes, Adam at 3e-3, 30 epochs of batches of 64. A
split and the weights come of the seed; 30 % of the digits are for the test. The matrix products of
the layers are Mitchell's; softmax, loss and the steps of Adam are computed as usual. "exchanged" is
the test accuracy of the trained network when it is run with the other kind of products.
"""

import argparse
import statistics
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from timing import one_thread, write_json
from torch import Tensor, nn

from kexue.numerics.mitchell_linear import from_mitchell, to_mitchell

TESTS = [
    "tests/numerics/test_mitchell_matmul.py",
    "tests/numerics/test_mitchell_sums.py",
    "tests/numerics/test_mitchell_linear.py",
]
TIMED = False

WAYS = {
    "float": None,
    "mitchell": {"backward": "mitchell"},
    "exact": {"backward": "exact"},
    "straight": {"backward": "straight"},
    "mitchell, offset 0.0552": {"backward": "mitchell", "offset": 0.0552},
}


class Digits(NamedTuple):
    """Images [N, 64] from 0 to 1 and their classes [N]."""

    train: Tensor
    train_classes: Tensor
    test: Tensor
    test_classes: Tensor


def load(seed: int) -> Digits:
    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images, classes, test_size=0.3, stratify=classes, random_state=seed)
    train, test = (torch.tensor(x / 16, dtype=torch.float32) for x in parts[:2])
    return Digits(train, torch.tensor(parts[2]), test, torch.tensor(parts[3]))


def accuracy(model: nn.Module, digits: Digits) -> float:
    with torch.no_grad():
        return (model(digits.test).argmax(1) == digits.test_classes).double().mean().item()


def train(digits: Digits, options: dict | None, seed: int, epochs: int) -> dict[str, float]:
    """Train one network; its accuracy with its own products and with those of the other kind."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    if options is not None:
        to_mitchell(model, **options)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(digits.train)).split(64):
            optimiser.zero_grad()
            loss = F.cross_entropy(model(digits.train[rows]), digits.train_classes[rows])
            loss.backward()
            optimiser.step()
    own = accuracy(model, digits)
    model = to_mitchell(model) if options is None else from_mitchell(model)
    return {"test": own, "exchanged": accuracy(model, digits), "loss": loss.item()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(argv)
    runs: dict[str, list[dict]] = {name: [] for name in WAYS}
    with one_thread():
        for seed in range(options.seeds):
            digits = load(seed)
            for name, given in WAYS.items():
                runs[name].append(train(digits, given, seed, options.epochs))
    means = {
        name: {key: statistics.mean(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    for name, mean in means.items():
        points = 100 * (mean["test"] - means["float"]["test"])
        print(
            f"{name:24} {100 * mean['test']:6.2f} % ({points:+.2f} points), "
            f"exchanged {100 * mean['exchanged']:6.2f} %"
        )
    result = {"seed": 0, "seeds": options.seeds, "epochs": options.epochs}
    write_json(options.json, result | {"runs": runs, "means": means})


if __name__ == "__main__":
    main()
