"""How many dimensions do N vectors need? Fewer than one thinks: 8.33 log N.

https://kexue.fm/archives/7695 claims that an embedding of N words has room from the dimension on
where the entropy 2 log N + h_n of its softmax would become negative, which is about 8.33 log N; and
https://kexue.fm/archives/8711 that the same holds for the heads of attention, with tokens for
words. https://kexue.fm/archives/8679 gives the other logarithm, the Johnson-Lindenstrauss lemma.
"""

# %% The rule: what it says about models that everybody uses
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from kexue.numerics.dimension import min_embedding_dim, sphere_entropy
from kexue.numerics.random_projection import jl_min_dim, project, random_projection

print(f"{'N things':38} 8.33 log N   exactly   in use")
for name, count, used in (
    ("512 tokens before a head of BERT", 512, 64),
    ("30,522 words of BERT", 30_522, "768, or 128 in ALBERT"),
    ("5 million words of a word2vec", 5_000_000, "100 to 300"),
):
    rule, exact = min_embedding_dim(count, method="rule"), min_embedding_dim(count)
    print(f"{name:38} {rule:10} {exact:9}   {used}")


# %% Vectors drawn at random: does their entropy follow the formula?
def sample_entropy(count, dim, generator):
    """Entropy of the softmax over all pairs of two sets of vectors of length sqrt(dim)."""
    vectors = torch.randn(2, count, dim, generator=generator)
    u, v = torch.nn.functional.normalize(vectors, dim=-1) * dim**0.5
    return float(torch.distributions.Categorical(logits=(u @ v.T).flatten()).entropy())


count, generator = 1500, torch.Generator().manual_seed(0)
dims = [2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96]
formula = [2 * torch.tensor(float(count)).log().item() + sphere_entropy(n) for n in dims]
sample = [sample_entropy(count, n, generator) for n in dims]
room = min_embedding_dim(count)
print(f"\n{count} vectors: the formula says 0 from {room} dimensions on")
for n, expected, found in zip(dims, formula, sample, strict=True):
    if n in (4, 16, 32, 64, 96):
        print(f"  {n:3} dimensions: formula {expected:6.2f}   vectors {found:5.2f} nats")
print("a sample cannot fall below 0: near the threshold the formula ends, and that is its point")

# %% Distances survive a random projection, however wide the vectors were
points, error = 500, 0.5
wide = torch.randn(points, 3000, generator=generator)
before = torch.pdist(wide).square()
kept = [16, 32, 64, 128, 256, jl_min_dim(points, error, method="exact"), jl_min_dim(points, error)]
worst = []
for n in kept:
    narrow = project(wide, random_projection(3000, n, generator=generator))
    worst.append(float((torch.pdist(narrow).square() / before - 1).abs().max()))
print(f"\nsquared distances of {points} points with 3000 features, all within {error:.0%}:")
print(f"  24 log N / eps^2 = {kept[-1]} dimensions promise it; largest error {worst[-1]:.0%}")
print(f"  chi-squared needs {kept[-2]}; largest error {worst[-2]:.0%}; at 64 it is {worst[2]:.0%}")

# %% The figure
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
left.plot(dims, formula, label="2 log N + h, the formula")
left.plot(dims, sample, "o", label=f"{count} random vectors")
left.axhline(0, color="grey", linewidth=0.8)
left.axvline(room, color="C3", linestyle=":", label=f"room from {room} dimensions on")
left.set(xlabel="dimensions", ylabel="entropy of the softmax, nats", title="Room for N vectors")
left.legend()
promised = range(jl_min_dim(points, 0.99), kept[-1])  # the lemma speaks of errors below 1
bound = [(24 * torch.tensor(float(points)).log() / n).sqrt() for n in promised]
right.loglog(promised, bound, label="the lemma: sqrt(24 log N / n)")
right.loglog(kept, worst, "o-", label=f"worst of the pairs of {points} points")
right.axhline(error, color="grey", linewidth=0.8)
right.set_xticks([16, 32, 64, 128, 256, 512], minor=False)
right.set_yticks([0.25, 0.5, 1, 2])
right.xaxis.set_major_formatter("{x:.0f}")
right.yaxis.set_major_formatter("{x:g}")
right.minorticks_off()
right.set(xlabel="dimensions n", ylabel="relative error of a squared distance")
right.set(title="Random projection of 3000 features")
right.legend()
folder = Path(os.environ.get("KEXUE_FIGURES") or tempfile.mkdtemp())
figure.savefig(folder / "24_dimension.png", dpi=80)
print("figure:", folder / "24_dimension.png")
