"""The sums of a linear chain over all tag sequences, without a logsumexp a step.

    score(y) = start(y_1) + sum_t e_t(y_t) + sum_t T(y_t-1, y_t) + end(y_n)
    log Z    = log sum_y e^score(y);   d log Z / d score part = expected count of that part

The forward and the backward sums run in one loop, from the two ends of each text: a step is one
small matrix product and one product with e^e_t, in float64, rescaled only as often as the ranges of
the scores ask for. The gradient is formed from both sums, not by autograd through the loop. Where
the ranges are too wide for that (hundreds of nats), the same sums are done with logarithms.

Post: https://kexue.fm/archives/5542
Paper: Lafferty, McCallum, Pereira 2001, https://repository.upenn.edu/cis_papers/159
Axes: B texts, l longest text, K tags
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from kexue.heads.chain import FORBIDDEN, Chain

# More steps without rescaling save nothing.
_MOST_STEPS = 32


class Sweep(NamedTuple):
    """Messages along a chain, each [B, l, K] up to a factor for each place.

    Attributes:
        log_z: [B].
        forward: sum over the tags before, this one's emission included.
        backward: sum over the tags after, this one's emission included.
        after: sum over the tags after, without this one's emission.
    """

    log_z: Tensor
    forward: Tensor
    backward: Tensor
    after: Tensor


class Moments(NamedTuple):
    """log Z [B], marginals [B, l, K] (0 behind the text), expected transitions [B, K, K]."""

    log_z: Tensor
    marginals: Tensor
    pairs: Tensor


@torch.no_grad()
def moments(chain: Chain) -> Moments:
    """Compute log Z and the expected counts of tags and transitions.

    Args:
        chain: from `make_chain`, at least one place long.

    Returns:
        Its moments; 0 for a text of no tokens.

    Example:
        >>> from kexue.heads.chain import make_chain
        >>> scores = torch.zeros(1, 3, 2), torch.tensor([3]), torch.zeros(2, 2)
        >>> moments(make_chain(*scores, torch.zeros(2), torch.zeros(2))).pairs
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]], dtype=torch.float64)
    """
    exists = chain.valid[..., None]
    steps = _rescaling_interval(chain)
    if steps:
        sweep = _scaled_sweep(chain, steps)
        joint = sweep.forward * sweep.after
        total = joint.sum(-1, keepdim=True)
        left = (sweep.forward / total)[:, :-1].masked_fill(~exists[:, 1:], 0)
        pairs = left.transpose(1, 2) @ sweep.backward[:, 1:]
        pairs *= (chain.transitions - chain.transitions.amax()).exp()
        marginals = joint.div_(total)
    else:
        sweep = _log_sweep(chain)
        marginals = (sweep.forward + sweep.after).softmax(-1)
        pairs = torch.zeros_like(chain.transitions).repeat(len(chain.lengths), 1, 1)
        for t in range(1, exists.shape[1]):
            cells = sweep.forward[:, t - 1, :, None] + chain.transitions
            cells += sweep.backward[:, t, None]
            pairs += cells.flatten(1).softmax(1).view(pairs.shape) * exists[:, t, None]
    log_z = sweep.log_z.masked_fill(~exists[:, 0, 0], 0)
    return Moments(log_z, marginals.masked_fill(~exists, 0), pairs)


@torch.no_grad()
def log_messages(chain: Chain) -> Sweep:
    """Compute the messages of a chain as logarithms.

    Args:
        chain: from `make_chain`, at least one place long.

    Returns:
        The messages; what stands behind a text is of no meaning.

    Example:
        >>> from kexue.heads.chain import make_chain
        >>> scores = torch.zeros(1, 3, 2), torch.tensor([3]), torch.zeros(2, 2)
        >>> log_messages(make_chain(*scores, torch.zeros(2), torch.zeros(2))).log_z.exp()
        tensor([8.0000], dtype=torch.float64)
    """
    steps = _rescaling_interval(chain)
    if not steps:
        return _log_sweep(chain)
    log_z, *messages = _scaled_sweep(chain, steps)
    return Sweep(log_z, *(message.log() for message in messages))


def _rescaling_interval(chain: Chain) -> int:
    """Find how many steps the scaled sums can take unscaled; 0 if they are not safe at all.

    With a tag h that follows every tag and leads to every tag in at most two steps, each tag gets
    at least e^-(2 E + 3 T) of the largest message three steps away, E and T being the ranges of
    emissions and transitions: nothing that matters underflows. A tag O in BIO is such an h.
    """
    room = math.log(torch.finfo(chain.emissions.dtype).max) - 50
    possible = chain.transitions > FORBIDDEN / 2
    one = possible.to(chain.emissions.dtype)
    hub = (possible.all(0) & ((one + one @ one) > 0).all(1)).any()
    edges = torch.stack((chain.start, chain.end, *chain.transitions))
    real = edges > FORBIDDEN / 2
    edge_range = edges.amax() - edges.masked_fill(~real, torch.inf).amin()
    token_range = (chain.emissions.amax(-1) - chain.emissions.amin(-1)).amax()
    # A NaN in the scores fails the comparison and goes the slow way, where it stays visible.
    need = 2 * token_range + 3 * edge_range
    step = token_range + edge_range + math.log(len(one))
    safe = hub & real[1].all() & (need < room)
    steps = ((room - need) / step).clamp(1, _MOST_STEPS)
    return int(torch.where(safe, steps, 0).item())


def _scaled_sweep(chain: Chain, steps: int) -> Sweep:
    """Run both directions with probabilities, rescaled every so many steps."""
    emissions, reversal = chain.emissions, chain.reversal
    peaks = emissions.amax(-1, keepdim=True)
    factors = (emissions - peaks).exp_()
    factors = torch.stack((factors, factors.gather(1, reversal))).permute(2, 0, 1, 3).contiguous()
    step_peak, start_peak, end_peak = (x.amax() for x in chain[2:])
    move = (chain.transitions - step_peak).exp()
    start, end = (chain.start - start_peak).exp(), (chain.end - end_peak).exp()

    messages = torch.empty_like(factors)  # [l, 2, B, K]
    torch.mul(factors[0], torch.stack((start, end))[:, None], out=messages[0])
    moves = torch.stack((move, move.T))
    scales = factors.new_ones(len(factors), len(chain.lengths))
    places = messages.unbind()
    for t, factor in enumerate(factors.unbind()[1:], 1):
        place = torch.bmm(places[t - 1], moves, out=places[t]).mul_(factor)
        if t % steps == 0:
            scale = place.sum(-1, keepdim=True)
            scales[t] = scale[0, :, 0]
            place.div_(scale)
    sums = messages.sum(-1, keepdim=True)
    messages.div_(sums)

    forward = messages[:, 0].transpose(0, 1)
    backward = messages[:, 1].transpose(0, 1).gather(1, reversal)
    after = torch.empty_like(backward)
    torch.matmul(backward[:, 1:], move.T, out=after[:, :-1])
    after[chain.last] = end
    logs = (scales.log_().cumsum(0) + sums[:, 0, :, 0].log()).T
    log_z = logs[chain.last] + (forward[chain.last] @ end).log() + start_peak + end_peak
    log_z += (peaks[..., 0] * chain.valid).sum(1) + (chain.lengths - 1) * step_peak
    return Sweep(log_z, forward, backward, after)


def _log_sweep(chain: Chain) -> Sweep:
    """Run both directions with logarithms: slower, for any range of scores."""
    emissions, reversal = chain.emissions, chain.reversal
    factors = torch.stack((emissions, emissions.gather(1, reversal))).permute(2, 0, 1, 3)
    moves = torch.stack((chain.transitions, chain.transitions.T))[:, None]
    before = torch.empty_like(factors)
    before[0] = torch.stack((chain.start, chain.end))[:, None]
    for t in range(1, len(factors)):
        previous = before[t - 1] + factors[t - 1]
        before[t] = (previous[..., None] + moves).logsumexp(-2)
    forward, backward = (before + factors).permute(1, 2, 0, 3)
    after = before[:, 1].transpose(0, 1).gather(1, reversal)
    log_z = (forward[chain.last] + chain.end).logsumexp(-1)
    return Sweep(log_z, forward, backward.gather(1, reversal), after)
