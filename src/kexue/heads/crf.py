"""A linear-chain CRF over BIO tags: the flat baseline that the span heads are measured against.

    log p(y | x) = start(y_1) + sum_t e_t(y_t) + sum_t T(y_t-1, y_t) + end(y_n) - log Z

The chain runs over the kept tokens alone: special tokens and padding never enter it. Forbidden
transitions (into I-x from anything but B-x and I-x) are left out of log Z as well as of decoding,
so what is trained is what is decoded. The loss has its gradient from the forward and backward sums
(`kexue.heads.chain`).

In the original the learning rate of the transitions is 1000 times the encoder's. Here that is an
optimiser group of `transitions`, `start` and `end`.

Post: https://kexue.fm/archives/5542
Paper: Lafferty, McCallum, Pereira 2001, https://repository.upenn.edu/cis_papers/159
Paper: Papay, Klinger, Padó 2022 (constraints in training), https://arxiv.org/abs/2106.07306
Axes: B texts, L tokens, D hidden size, T types, K = 2 T + 1 tags, l longest text, N kept tokens
"""

import torch
from torch import Tensor, nn

from kexue.heads.bio import Runs, bio_allowed, bio_tags, continues, read_bio
from kexue.heads.chain import FORBIDDEN, Chain, make_chain
from kexue.heads.chain_likelihood import crf_log_likelihood, crf_marginals, log_likelihood
from kexue.heads.decoding import ScoredSpan
from kexue.heads.packing import Packing, Spans, pack, span_table
from kexue.heads.sweeps import log_messages
from kexue.heads.viterbi import best_tags, viterbi

__all__ = ["LinearChainCRF", "crf_log_likelihood", "crf_marginals", "viterbi"]


class LinearChainCRF(nn.Module):
    """Linear-chain CRF over BIO tags, with the interface of the span heads.

    Parameters: `project` (linear, D to K), `transitions` [K, K], `start` [K], `end` [K].

    Args:
        hidden_size: D, width of the encoder states.
        num_types: T, number of entity types.
        constrained: leave invalid tag sequences out of the distribution; False lets the model
            learn by itself that I-x follows B-x, as the original does.

    Example:
        >>> head = LinearChainCRF(8, 2)
        >>> hidden, mask = torch.randn(1, 4, 8), torch.tensor([[False, True, True, True]])
        >>> head.loss(hidden, mask, [[(1, 2, 3)]]).shape
        torch.Size([])
    """

    def __init__(self, hidden_size: int, num_types: int, *, constrained: bool = True) -> None:
        super().__init__()
        tags = 2 * num_types + 1
        self.num_types = num_types
        self.constrained = constrained
        self.project = nn.Linear(hidden_size, tags)
        self.transitions = nn.Parameter(torch.empty(tags, tags).uniform_(-0.1, 0.1))
        self.start = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        self.end = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Compute the emissions [B, L, K], 0 where `mask` is False."""
        return self.project(hidden).masked_fill(~mask[..., None], 0)

    def loss(self, hidden: Tensor, mask: Tensor, spans: Spans) -> Tensor:
        """Compute the negative log-likelihood, mean over texts.

        Args:
            hidden: [B, L, D] encoder states.
            mask: [B, L] bool, True for tokens that may begin or end a span.
            spans: for each text its gold (type, start, end), token places with both ends included;
                or an integer tensor [B, K, 3] padded with -1. Of spans that share a token the
                longest is learnt.

        Returns:
            A scalar in float32 (float64 for float64 states).

        Raises:
            ValueError: if a span does not fit the text, or `mask` is not boolean.
        """
        packing = pack(mask)
        table = span_table(spans, packing, mask, self.num_types)
        text, kind, start, end = table.unbind(1)
        runs = Runs(kind, packing.starts[text] + start, packing.starts[text] + end)
        emissions = self.project(_kept(hidden, packing))
        with torch.autocast(hidden.device.type, enabled=False):
            chain = self._chain(emissions, packing)
            slots = chain.valid.flatten()
            tags = slots.long().masked_scatter(slots, bio_tags(runs, len(packing.index)))
            value = -log_likelihood(chain, tags.view(chain.valid.shape)).mean()
        return value.to(torch.promote_types(emissions.dtype, torch.float32))

    @torch.no_grad()
    def decode(self, hidden: Tensor, mask: Tensor) -> list[list[ScoredSpan]]:
        """Find the spans of the best tag sequence.

        Args:
            hidden: [B, L, D] encoder states.
            mask: [B, L] bool.

        Returns:
            For each text its (type, start, end, score), by start; token places with both ends
            included. The score is the probability of the span, 0 to 1: of all tag sequences
            together that hold this span with exactly these ends.
        """
        packing = pack(mask)
        found: list[list[ScoredSpan]] = [[] for _ in packing.lengths]
        if not len(packing.index):
            return found
        emissions = self.project(_kept(hidden, packing))
        with torch.autocast(hidden.device.type, enabled=False):
            chain = self._chain(emissions, packing)
            tags = best_tags(chain)[chain.valid]
            begins_text = torch.zeros_like(tags, dtype=torch.bool)
            begins_text[packing.starts[:-1][chain.lengths > 0]] = True
            runs = read_bio(tags, begins_text)
            scores = _span_probabilities(chain, tags, begins_text, runs)
        place = packing.positions
        columns = (runs.kind, place[runs.first], place[runs.last], scores)
        text = packing.index[runs.first] // mask.shape[1]
        rows = zip(text.tolist(), *(column.tolist() for column in columns), strict=True)
        for owner, *span in rows:
            found[owner].append(ScoredSpan(*span))
        return found

    def _chain(self, emissions: Tensor, packing: Packing) -> Chain:
        """Build the chain of packed emissions [N, K]."""
        # float16 does not hold the score of what is forbidden.
        exact = torch.promote_types(self.transitions.dtype, torch.float32)
        transitions, start = self.transitions.to(exact), self.start.to(exact)
        if self.constrained:
            move, first = bio_allowed(self.num_types, device=emissions.device)
            transitions = transitions.masked_fill(~move, FORBIDDEN)
            start = start.masked_fill(~first, FORBIDDEN)
        lengths = packing.starts.diff()
        # One place at least, so that a batch without tokens is no special case.
        shape = len(lengths), max([1, *packing.lengths]), emissions.shape[1]
        exists = torch.arange(shape[1], device=emissions.device) < lengths[:, None]
        slots = exists.flatten().nonzero().flatten()
        padded = emissions.new_zeros(exists.numel(), shape[2]).index_copy(0, slots, emissions)
        return make_chain(padded.view(shape), lengths, transitions, start, self.end)


def _kept(hidden: Tensor, packing: Packing) -> Tensor:
    flat = hidden.flatten(0, 1)
    return flat if len(packing.index) == len(flat) else flat.index_select(0, packing.index)


def _span_probabilities(chain: Chain, tags: Tensor, begins_text: Tensor, runs: Runs) -> Tensor:
    """Compute the probability [P] that tag sequences hold B-x at `first`, I-x to `last`, no more.

    p(B-x) of the chain at `first`, times p(I-x | tag before) up to `last`, times p(no I-x | last).
    """
    messages = log_messages(chain)
    slots = chain.valid.flatten().nonzero().flatten()
    at_tag = (messages.forward + messages.after).flatten(0, 1)
    backward = messages.backward.flatten(0, 1)
    opening = at_tag[slots[runs.first]].log_softmax(-1)
    total = opening.gather(1, tags[runs.first, None])[:, 0]

    def given(before: Tensor, tag: Tensor) -> Tensor:
        """Log p(`tag` at the place after `before` | tag at `before`)."""
        moves = chain.transitions[tags[before]] + backward[slots[before + 1]]
        return moves.log_softmax(-1).gather(1, tag[:, None])[:, 0]

    inner = continues(tags, begins_text).nonzero().flatten()
    steps = torch.zeros_like(at_tag[slots, 0])
    steps[inner] = given(inner - 1, tags[inner])
    steps = steps.cumsum(0)
    total = total + steps[runs.last] - steps[runs.first]
    ended = torch.cat((begins_text[1:], begins_text.new_ones(1)))[runs.last]
    last = runs.last[~ended]
    more = given(last, 2 * runs.kind[~ended] + 2)
    probability = total.exp()
    probability[~ended] *= -more.expm1()
    return probability.clamp(0, 1)
