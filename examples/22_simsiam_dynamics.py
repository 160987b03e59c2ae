"""SimSiam: why an encoder trained without negatives does not map everything to one point.

https://kexue.fm/archives/7980 answers with the dynamics of training: predictor and encoder are
moved by the same error, the predictor is nearer to it and settles first, and then nothing pushes
the encoder any more; without the stopped gradient the encoder gets a second, faster way down, to
collapse. First the two numbers in which the article sees this, with their exact limits; then four
trainings of a small network, in which the same two ingredients decide.
"""

# %% A predictor phi and an encoder theta of one weight each; theta = 0 is collapse
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from kexue.losses.simsiam import simsiam_loss
from kexue.metrics.collapse import collapse_report
from kexue.numerics.simsiam_dynamics import SimSiamState, invariant, limit, simulate

start, times = SimSiamState(0.6, 0.1), np.linspace(0, 60, 400)
names = {"target": "stop-gradient", "nothing": "no stop-gradient", "online": "second term alone"}
paths = {stop: simulate(start, times, stop=stop) for stop in names}
for stop, path in paths.items():
    kept = [invariant(SimSiamState(*state), stop=stop) for state in path]
    end = limit(start, stop=stop)
    print(
        f"{names[stop]:18} theta -> {end.theta:.6f}, phi -> {end.phi:.6f}; "
        f"integrated {path[-1, 1]:.6f}; conserved to {np.ptp(kept):.0e}"
    )

# %% The faster the predictor, the less the encoder moves; and yet some starts do collapse
rates = np.geomspace(0.1, 100, 60)
for rate in (0.1, 1.0, 10.0, 100.0):
    print(f"predictor {rate:5} times as fast: theta -> {limit(start, rate=rate).theta:.4f}")
unlucky = SimSiamState(-0.5, 0.1)
print(f"from phi = -0.5, which is beyond phi^2 = theta^2: theta -> {limit(unlucky).theta}")

# %% A real one: eight clusters, two noisy views of each point, with and without both ingredients
STEPS, BATCH, WIDTH, EVERY = 800, 256, 16, 10


def train(*, stop_gradient, with_predictor):
    torch.manual_seed(0)
    centres = torch.randn(8, 32)

    def draw():
        points = centres[torch.randint(8, (BATCH,))] + 0.3 * torch.randn(BATCH, 32)
        return [points + 0.7 * torch.randn(BATCH, 32) for _ in range(2)]

    encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, WIDTH))
    predictor = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, WIDTH))
    head = predictor if with_predictor else nn.Identity()
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9)
    spread = []
    for step in range(STEPS):
        first, second = (encoder(view) for view in draw())
        loss = simsiam_loss(head(first), second, stop_gradient=stop_gradient)
        loss = loss + simsiam_loss(head(second), first, stop_gradient=stop_gradient)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % EVERY == 0:
            spread.append(collapse_report(first).std)
    return spread


# %% Only with both the vectors stay apart
spreads = {}
for with_predictor in (True, False):
    for stop_gradient in (True, False):
        name = f"{'' if stop_gradient else 'no '}stop, {'' if with_predictor else 'no '}predictor"
        spreads[name] = train(stop_gradient=stop_gradient, with_predictor=with_predictor)
        print(f"{name:22} std of unit vectors {spreads[name][-1]:.3f} (1 even, 0 a point)")

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4), constrained_layout=True)
for stop, path in paths.items():
    left.plot(times, path[:, 1], label=names[stop])
left.set(xlabel="time", ylabel="encoder theta", title="gradient flow of (phi theta - theta)² / 2")
middle.loglog(rates, [limit(start, rate=rate).theta for rate in rates])
middle.axhline(start.theta, color="grey", linestyle=":", label="where it began")
middle.set(xlabel="speed of the predictor", ylabel="limit of theta", title="stop-gradient")
for name, spread in spreads.items():
    right.plot(range(0, STEPS, EVERY), spread, label=name)
right.set(xlabel="step", ylabel="std of unit vectors", title="four trained encoders", ylim=(0, 1))
for axis in (left, middle, right):
    axis.legend()
folder = Path(os.environ.get("KEXUE_FIGURES") or tempfile.mkdtemp())
figure.savefig(folder / "22_simsiam_dynamics.png", dpi=80)
print("figure:", folder / "22_simsiam_dynamics.png")
