import itertools

import pytest
import torch
from torchcrf import CRF

from kexue.heads.bio import bio_allowed
from kexue.heads.crf import LinearChainCRF, crf_log_likelihood, crf_marginals, viterbi

TYPES, WIDTH = 2, 12
SPANS = [[(0, 1, 2), (1, 4, 4), (0, 5, 7)], [(1, 0, 8)], [(0, 2, 5)], []]


def make(*, types=TYPES, scale=1.0, constrained=True, dtype=torch.float64):
    torch.manual_seed(1)
    head = LinearChainCRF(WIDTH, types, constrained=constrained).to(dtype)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(scale)
    return head


def ragged(texts=4, length=9, dtype=torch.float64):
    torch.manual_seed(2)
    hidden = torch.randn(texts, length, WIDTH, dtype=dtype)
    mask = torch.zeros(texts, length, dtype=torch.bool)
    # Special tokens in front, padding behind, a hole in the middle, and an empty text.
    mask[0, 1:8] = True
    mask[1, :] = True
    mask[2, 2:6] = True
    mask[2, 4] = False
    return hidden, mask


def parts(head):
    """Transitions, start and end with forbidden ones pushed away, as a user would write it."""
    move, first = bio_allowed(head.num_types)
    penalty = -1e4 if head.constrained else 0.0
    return (
        head.transitions + penalty * ~move,
        head.start + penalty * ~first,
        head.end,
    )


def chains(head, hidden, mask):
    """Emissions of each text without the tokens that are left out."""
    return [head.project(states[keep]) for states, keep in zip(hidden, mask, strict=True)]


def written(mask, spans, *, length):
    """Tags of the disjoint spans of one text over its kept tokens."""
    tags = [0] * length
    for kind, start, end in spans:
        for place in range(start, end + 1):
            tags[place] = 2 * kind + (1 if place == start else 2)
    return torch.tensor(tags)[mask]


def oracle_loss(head, hidden, mask, spans):
    """Negative log-likelihood by pytorch-crf, one text at a time."""
    theirs = CRF(2 * head.num_types + 1, batch_first=True).to(hidden.dtype)
    names = "transitions", "start_transitions", "end_transitions"
    for name, value in zip(names, parts(head), strict=True):
        del theirs._parameters[name]
        setattr(theirs, name, value)
    total = 0.0
    for emissions, keep, found in zip(chains(head, hidden, mask), mask, spans, strict=True):
        if keep.any():
            tags = written(keep, found, length=len(keep))
            every = torch.ones(1, len(tags), dtype=torch.bool)
            total = total - theirs(emissions[None], tags[None], every)
    return total / len(mask)


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_loss_and_gradients_equal_pytorch_crf(scale, constrained):
    head = make(scale=scale, constrained=constrained)
    hidden, mask = ragged()
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    expected = oracle_loss(head, theirs, mask, SPANS)
    expected.backward()
    expected_by_weights = {name: p.grad.clone() for name, p in head.named_parameters()}
    head.zero_grad()
    loss = head.loss(ours, mask, SPANS)
    torch.testing.assert_close(loss, expected)
    (3 * loss).backward()
    torch.testing.assert_close(ours.grad, 3 * theirs.grad, rtol=1e-7, atol=1e-9)
    for name, parameter in head.named_parameters():
        torch.testing.assert_close(
            parameter.grad, 3 * expected_by_weights[name], rtol=1e-7, atol=1e-9
        )


def test_spans_may_be_a_padded_tensor():
    head = make()
    hidden, mask = ragged()
    table = torch.full((4, 5, 3), -1)
    for text, found in enumerate(SPANS):
        for slot, span in enumerate(found):
            table[text, slot] = torch.tensor(span)
    torch.testing.assert_close(head.loss(hidden, mask, table), head.loss(hidden, mask, SPANS))


def test_of_overlapping_spans_the_longest_is_learnt():
    head = make()
    hidden, mask = ragged()
    nested = [[(1, 1, 1), *SPANS[0], (1, 2, 2), (1, 6, 7)], [(0, 2, 3), *SPANS[1]], *SPANS[2:]]
    assert head.loss(hidden, mask, nested) == head.loss(hidden, mask, SPANS)
    assert head.loss(hidden, mask, SPANS) != head.loss(hidden, mask, [[]] * 4)


def readings(tags):
    """Spans of a tag sequence: B-x and the I-x that follow it."""
    found = []
    for start, tag in enumerate(tags):
        if tag % 2 == 1:
            end = start
            while end + 1 < len(tags) and tags[end + 1] == tag + 1:
                end += 1
            found.append((tag // 2, start, end))
    return found


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("scale", [1.0, 4.0, 400.0])
def test_decoding_and_its_probabilities_equal_enumeration(scale, constrained):
    head = make(scale=scale, constrained=constrained)
    torch.manual_seed(5)
    hidden = torch.randn(6, 4, WIDTH, dtype=torch.float64)
    mask = torch.ones(6, 4, dtype=torch.bool)
    mask[0, 2] = False
    move, first, end = parts(head)
    decoded = head.decode(hidden, mask)
    assert sum(map(len, decoded)) > 3
    for emissions, keep, found in zip(chains(head, hidden, mask), mask, decoded, strict=True):
        scores = {}
        for tags in itertools.product(range(2 * TYPES + 1), repeat=len(emissions)):
            total = first[tags[0]] + end[tags[-1]]
            for place, tag in enumerate(tags):
                total = total + emissions[place, tag]
            for a, b in itertools.pairwise(tags):
                total = total + move[a, b]
            scores[tags] = total.item()
        best = max(scores, key=scores.get)
        places = keep.nonzero().flatten().tolist()
        expected = [(kind, places[i], places[j]) for kind, i, j in readings(best)]
        assert [span[:3] for span in found] == expected
        weights = torch.tensor(list(scores.values()), dtype=torch.float64).softmax(0).tolist()
        for span, reading in zip(found, readings(best), strict=True):
            probability = sum(
                weight
                for tags, weight in zip(scores, weights, strict=True)
                if reading in readings(tags)
            )
            assert span.score == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize("constrained", [True, False])
def test_decoding_equals_pytorch_crf(constrained):
    head = make(types=10, scale=6, constrained=constrained)
    torch.manual_seed(7)
    hidden = torch.randn(8, 60, WIDTH, dtype=torch.float64)
    mask = torch.arange(60) < torch.randint(1, 61, (8, 1))
    mask[0] = True
    theirs = CRF(21, batch_first=True).double()
    with torch.no_grad():
        names = "transitions", "start_transitions", "end_transitions"
        for name, value in zip(names, parts(head), strict=True):
            getattr(theirs, name).copy_(value)
        paths = theirs.decode(head(hidden, mask), mask)
    found = [[span[:3] for span in text] for text in head.decode(hidden, mask)]
    assert found == [readings(path) for path in paths]
    assert sum(map(len, found)) > 50


def test_only_valid_sequences_are_decoded_when_constrained():
    head = make(scale=0)
    with torch.no_grad():
        head.project.bias[2] = 5.0  # I of type 0 is what every token wants to be
        head.end[2] = 5.0
    hidden, mask = ragged()
    found = head.decode(hidden, mask)
    assert [[span[:3] for span in text] for text in found[:3]] == [
        [(0, 1, 7)],
        [(0, 0, 8)],
        [(0, 2, 5)],
    ]
    loose = make(scale=0, constrained=False)
    loose.load_state_dict(head.state_dict())
    # I without a B starts nothing.
    assert loose.decode(hidden, mask) == [[], [], [], []]


def test_what_the_mask_leaves_out_does_not_matter():
    head = make(scale=4)
    hidden, mask = ragged()
    spoilt = hidden.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    loss = head.loss(spoilt, mask, SPANS)
    assert loss == head.loss(hidden, mask, SPANS)
    assert head.decode(spoilt, mask) == head.decode(hidden, mask)
    loss.backward()
    assert (spoilt.grad[~mask] == 0).all()
    assert spoilt.grad.isfinite().all()


def test_a_text_gives_the_same_alone_and_in_a_batch():
    head = make(scale=4)
    hidden, mask = ragged()
    together = head.decode(hidden, mask)
    alone = 0.0
    for text in range(4):
        rows = slice(text, text + 1)
        alone += head.loss(hidden[rows], mask[rows], SPANS[rows]) / 4
        [found] = head.decode(hidden[rows], mask[rows])
        assert [span[:3] for span in found] == [span[:3] for span in together[text]]
        for a, b in zip(found, together[text], strict=True):
            assert a.score == pytest.approx(b.score, rel=1e-9)
    torch.testing.assert_close(alone, head.loss(hidden, mask, SPANS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_the_projection_only(dtype):
    head = make(dtype=torch.float32, scale=3)
    hidden, mask = ragged(dtype=torch.float32)
    expected = head.loss(hidden, mask, SPANS)
    with torch.autocast("cpu", dtype=dtype):
        loss = head.loss(hidden, mask, SPANS)
        found = head.decode(hidden, mask)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=2e-2)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    assert all(0 <= span.score <= 1 for text in found for span in text)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision(dtype):
    head = make(dtype=dtype)
    hidden, mask = ragged(dtype=dtype)
    hidden.requires_grad_()
    loss = head.loss(hidden, mask, SPANS)
    assert loss.dtype == torch.float32
    loss.backward()
    assert hidden.grad.dtype == dtype
    assert all(p.grad.isfinite().all() for p in head.parameters())
    head.decode(hidden, mask)


@pytest.mark.parametrize("height", [100.0, 1e5])
def test_extreme_emissions(height):
    head = make(types=10, dtype=torch.float32)
    torch.manual_seed(3)
    signs = torch.randint(0, 2, (2, 64, 21)) * 2.0 - 1
    head.project = torch.nn.Identity()
    hidden, mask = (height * signs).requires_grad_(), torch.ones(2, 64, dtype=torch.bool)
    loss = head.loss(hidden, mask, [[(0, 3, 9)], [(9, 0, 63)]])
    assert loss.isfinite()
    assert loss > height
    loss.backward()
    assert hidden.grad.isfinite().all()
    scores = [span.score for text in head.decode(hidden, mask) for span in text]
    assert scores
    assert all(0 <= score <= 1 for score in scores)


def test_batches_without_tokens_or_spans():
    head = make()
    hidden, mask = ragged()
    hidden.requires_grad_()
    none = torch.zeros_like(mask)
    loss = head.loss(hidden, none, [[]] * 4)
    assert loss == 0
    loss.backward()
    assert (hidden.grad == 0).all()
    assert head.decode(hidden, none) == [[]] * 4
    assert head.loss(hidden, mask, [[]] * 4) > 0
    assert head.loss(hidden, mask, torch.full((4, 0, 3), -1)) > 0
    assert head.decode(hidden, mask)[3] == []


def test_training_learns_the_spans_and_their_probabilities_rise():
    torch.manual_seed(0)
    head = LinearChainCRF(WIDTH, TYPES)
    hidden, mask = ragged(dtype=torch.float32)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        head.loss(hidden, mask, SPANS).backward()
        optimiser.step()
    found = head.decode(hidden, mask)
    assert [[span[:3] for span in text] for text in found] == SPANS
    assert min(span.score for text in found for span in text) > 0.9


def test_forbidden_transitions_get_no_gradient():
    head = make()
    hidden, mask = ragged()
    head.loss(hidden, mask, SPANS).backward()
    move, first = bio_allowed(TYPES)
    assert (head.transitions.grad[~move] == 0).all()
    assert (head.start.grad[~first] == 0).all()
    assert (head.transitions.grad[move] != 0).all()


def test_loss_is_the_likelihood_of_the_pure_function():
    head = make(constrained=False, scale=3)
    hidden, mask = ragged()
    emissions = head(hidden, mask)
    assert (emissions[~mask] == 0).all()
    tags = torch.zeros(4, 9, dtype=torch.long)
    for text, found in enumerate(SPANS):
        tags[text, mask[text]] = written(mask[text], found, length=9)
    own = head.transitions, head.start, head.end
    value = -crf_log_likelihood(emissions, tags, mask, *own).mean()
    torch.testing.assert_close(value, head.loss(hidden, mask, SPANS))
    marginals = crf_marginals(emissions, mask, *own)
    torch.testing.assert_close(marginals.sum(-1), mask.double())
    assert viterbi(emissions, mask, *own).shape == mask.shape


def test_parameters_have_the_documented_names():
    names = {name: tuple(p.shape) for name, p in LinearChainCRF(8, 3).named_parameters()}
    assert names == {
        "transitions": (7, 7),
        "start": (7,),
        "end": (7,),
        "project.weight": (7, 8),
        "project.bias": (7,),
    }


@pytest.mark.parametrize("span", [(2, 1, 2), (0, 2, 1), (0, 0, 1), (0, 1, 9)])
def test_a_span_that_does_not_fit_is_refused(span):
    hidden, mask = ragged()
    with pytest.raises(ValueError, match="spans"):
        make().loss(hidden, mask, [[span], [], [], []])


def test_inputs_are_not_written_to():
    head = make()
    hidden, mask = ragged()
    before = hidden.clone(), mask.clone()
    head.loss(hidden, mask, SPANS)
    head.decode(hidden, mask)
    assert torch.equal(hidden, before[0])
    assert torch.equal(mask, before[1])
