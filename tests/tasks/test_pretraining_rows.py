"""What is hidden, how much of it, in which rows, and that the same place gives the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.tasks.pretraining_corpus import TokenStream
from kexue.tasks.pretraining_rows import Chunks, HidingCollator, check_runs, hidden_runs


def random_starts(count, seed=0, share=0.6):
    starts = np.random.default_rng(seed).random(count) < share
    starts[0] = True
    return starts


def words_of(starts):
    """The tokens of each word, by a plain loop."""
    words = []
    for place, start in enumerate(starts):
        if start:
            words.append([])
        words[-1].append(place)
    return words


def runs_of(flags):
    """The lengths of the runs of True in a list of bools, those at both ends left out."""
    lengths, length = [], 0
    for flag in flags:
        if flag:
            length += 1
        elif length:
            lengths.append(length)
            length = 0
    return lengths[1:]


# Choosing what to hide.


@pytest.mark.parametrize(("share", "run"), [(0.3, 2.5), (0.15, 3.0), (0.5, 1.5), (0.7, 2.5)])
def test_the_share_of_hidden_words_is_the_one_asked_for(share, run):
    starts = random_starts(400_000)
    runs = hidden_runs(starts, np.random.default_rng(1), share=share, run=run)
    hidden = [runs[word[0]] % 2 == 1 for word in words_of(starts)]
    pairs = len(hidden) / (run / share)
    # A pair of runs is drawn independently of the others; four standard errors of its share.
    assert abs(np.mean(hidden) - share) < 4 * 0.6 * share / np.sqrt(pairs) * run


def test_runs_have_geometric_lengths():
    runs = hidden_runs(np.ones(300_000, bool), np.random.default_rng(2), share=0.3, run=2.5)
    hidden = runs % 2 == 1
    for flags, mean in ((hidden, 2.5), (~hidden, 2.5 * 0.7 / 0.3)):
        lengths = np.array(runs_of(flags.tolist()))
        p = 1 / mean
        for length in range(1, 8):
            expected = p * (1 - p) ** (length - 1)
            error = np.sqrt(expected * (1 - expected) / len(lengths))
            assert abs(np.mean(lengths == length) - expected) < 4.5 * error, length


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 1000))
def test_a_hidden_word_is_hidden_whole(flags, seed):
    starts = np.array([True, *flags])
    runs = hidden_runs(starts, np.random.default_rng(seed), share=0.5, run=1.5)
    assert len(runs) == len(starts)
    for word in words_of(starts):
        assert len({runs[place] for place in word}) == 1
    steps = np.diff(runs)
    assert set(steps) <= {0, 1}
    assert runs[0] == 0


def test_short_rows_are_hidden_as_long_ones_are():
    """Runs are drawn until there are enough of them."""
    generator = np.random.default_rng(0)
    hidden = [hidden_runs(np.ones(400, bool), generator, run=60.0) % 2 for _ in range(400)]
    assert abs(np.mean(hidden) - 0.3) < 0.06


@pytest.mark.parametrize(
    ("share", "run", "message"),
    [
        (0.0, 2.5, "share is 0.0; allowed: above 0 and at most 0.714 with runs of 2.5 words"),
        (0.75, 2.5, "share is 0.75"),
        (float("nan"), 2.5, "share is nan"),
        (0.3, 1.0, "run is 1.0; allowed: above 1"),
    ],
)
def test_what_cannot_be_hidden_is_refused(share, run, message):
    with pytest.raises(ValueError, match=message):
        check_runs(share, run)
    with pytest.raises(ValueError, match=message):
        hidden_runs(np.ones(5, bool), np.random.default_rng(0), share=share, run=run)


# The order of training.


def stream_of(count, seed=0):
    return TokenStream(np.arange(count), random_starts(count, seed))


def test_a_round_takes_every_piece_once_and_no_two_rounds_are_alike():
    stream = stream_of(64 * 50)
    chunks = Chunks(stream, length=64, pieces=200, seed=0)
    rounds = [[int(chunks[50 * turn + at][1][0]) for at in range(50)] for turn in range(4)]
    assert sorted(rounds[0]) == list(range(0, 3200, 64))
    assert rounds[0] != sorted(rounds[0])
    for begins in rounds:
        assert len(set(begins)) == 50
    # Cut elsewhere, and in another order.
    assert len({begin % 64 for begin in rounds[1]} & {0}) == 0
    assert len({tuple(begin // 64 for begin in begins) for begins in rounds}) == 4


def test_a_piece_is_a_part_of_the_stream():
    stream = stream_of(1000)
    chunks = Chunks(stream, length=64, pieces=300, seed=0)
    assert len(chunks) == 300
    for place in range(300):
        back, ids, starts = chunks[place]
        assert back == place
        assert len(ids) == 64
        assert np.array_equal(ids, np.arange(ids[0], ids[0] + 64))
        assert np.array_equal(starts, stream.starts[ids])


@pytest.mark.parametrize("count", [64, 65, 127, 1000, 64 * 12])
def test_over_many_rounds_every_token_is_seen_about_as_often(count):
    stream = stream_of(count)
    each = count // 64
    chunks = Chunks(stream, length=64, pieces=each * 600, seed=0)
    seen = np.zeros(count)
    for place in range(len(chunks)):
        seen[chunks[place][1]] += 1
    # The ends belong to fewer pieces.
    inner = seen[64:-64] if count > 200 else seen[count // 2 : count // 2 + 1]
    assert inner.min() > 0.75 * inner.max()
    assert seen.min() > 0


def test_places_can_be_asked_for_in_any_order():
    stream = stream_of(2000)
    asked = [Chunks(stream, length=32, pieces=500, seed=1) for _ in range(2)]
    forth = {place: asked[0][place][1].tolist() for place in range(500)}
    back = {place: asked[1][place][1].tolist() for place in reversed(range(500))}
    assert forth == back
    other = Chunks(stream, length=32, pieces=500, seed=2)
    assert [other[place][1][0] for place in range(62)] != [forth[place][0] for place in range(62)]


# Batches.


@pytest.fixture
def collator(small_tokenizer):
    return HidingCollator(small_tokenizer, seed=0)


def pieces_of(tokenizer, count, length, *, first=0, seed=0):
    """Pieces of tokens that are no special ones, with a separator here and there."""
    generator = np.random.default_rng(seed)
    found = []
    for place in range(count):
        ids = generator.integers(5, len(tokenizer), length)
        ids[generator.random(length) < 0.02] = tokenizer.sep_token_id
        found.append((first + place, ids, random_starts(length, seed=1000 * seed + place)))
    return found


def test_rows_have_one_length_and_no_padding(collator, small_tokenizer):
    lengths = set()
    for first in range(0, 400, 4):
        pieces = pieces_of(small_tokenizer, 4, 256, first=first)
        batch = collator(pieces)
        ids, labels = batch["input_ids"], batch["labels"]
        assert set(batch) == {"input_ids", "labels"}
        assert ids.numel() == 4 * 256
        assert ids.dtype == labels.dtype == torch.int64
        lengths.add(ids.shape[1])
        assert (ids[:, 0] == small_tokenizer.cls_token_id).all()
        assert not (ids == small_tokenizer.pad_token_id).any()
        given = torch.from_numpy(np.stack([piece for _, piece, _ in pieces])).reshape(ids.shape)
        hidden = labels >= 0
        assert torch.equal(labels[hidden], given[hidden])
        shown = ~hidden
        shown[:, 0] = False
        assert torch.equal(ids[shown], given[shown])
    assert lengths == {32, 64, 128, 256}


def many_batches(collator, tokenizer, count=60):
    """Flat ids as given, as shown, labels, and the beginnings of words, of many batches."""
    found = []
    for first in range(0, 8 * count, 8):
        pieces = pieces_of(tokenizer, 8, 256, first=first, seed=first)
        batch = collator(pieces)
        length = batch["input_ids"].shape[1]
        given = np.stack([ids for _, ids, _ in pieces]).reshape(-1, length)
        starts = np.stack([starts for _, _, starts in pieces]).reshape(-1, length).copy()
        starts[:, :2] = True
        found.append((given, batch["input_ids"].numpy(), batch["labels"].numpy(), starts))
    return found


def test_of_ten_hidden_runs_eight_are_masked_one_replaced_one_shown(collator, small_tokenizer):
    masked = replaced = kept = words = hidden_words = 0
    for before, shown, labels, starts in many_batches(collator, small_tokenizer):
        hidden = labels >= 0
        masked += int((hidden & (shown == small_tokenizer.mask_token_id)).sum())
        kept += int((hidden & (shown == before)).sum())
        replaced += int(
            (hidden & (shown != before) & (shown != small_tokenizer.mask_token_id)).sum()
        )
        begins = starts & (before != small_tokenizer.sep_token_id)
        begins[:, 0] = False
        words += int(begins.sum())
        hidden_words += int((begins & hidden).sum())
    total = masked + replaced + kept
    assert abs(masked / total - 0.8) < 0.02
    assert abs(replaced / total - 0.1) < 0.015
    assert abs(kept / total - 0.1) < 0.015
    assert abs(hidden_words / words - 0.3) < 0.01


def test_words_are_hidden_whole_and_special_tokens_never(collator, small_tokenizer):
    special = set(small_tokenizer.all_special_ids)
    for before, shown, labels, starts in many_batches(collator, small_tokenizer, count=10):
        for ids, row, label, start in zip(before, shown, labels, starts, strict=True):
            assert label[0] == -100
            for word in words_of(start):
                ours = [place for place in word if place and ids[place] not in special]
                assert len({label[place] >= 0 for place in ours}) <= 1
                # Treated alike, too: all masked, all replaced or all shown.
                assert len({row[place] == small_tokenizer.mask_token_id for place in ours}) <= 1
            for place, token in enumerate(ids):
                if place and token in special:
                    assert label[place] == -100
                    assert row[place] == token


def test_what_replaces_a_token_is_a_token_of_the_batch_and_no_special_one(
    collator, small_tokenizer
):
    for before, shown, labels, _ in many_batches(collator, small_tokenizer, count=10):
        other = (labels >= 0) & (shown != before) & (shown != small_tokenizer.mask_token_id)
        assert set(shown[other]) <= set(before.ravel()) - set(small_tokenizer.all_special_ids)


def test_the_same_place_gives_the_same_and_another_place_or_seed_another(small_tokenizer):
    def batch(seed, first):
        pieces = pieces_of(small_tokenizer, 4, 64, first=first, seed=5)
        out = HidingCollator(small_tokenizer, seed)(pieces)
        return out["input_ids"].shape, out["labels"].flatten().tolist()

    assert batch(0, 8) == batch(0, 8)
    assert len({str(batch(seed, first)) for seed in (0, 1) for first in (0, 8, 16)}) == 6


def test_nothing_given_is_changed(collator, small_tokenizer):
    pieces = pieces_of(small_tokenizer, 4, 64)
    before = [(place, ids.copy(), starts.copy()) for place, ids, starts in pieces]
    collator(pieces)
    for (_, ids, starts), (_, ids_before, starts_before) in zip(pieces, before, strict=True):
        assert np.array_equal(ids, ids_before)
        assert np.array_equal(starts, starts_before)


def test_in_each_round_other_words_of_a_piece_are_hidden(collator, small_tokenizer):
    """A stream of one piece: its tokens are the same in each round."""
    generator = np.random.default_rng(0)
    stream = TokenStream(generator.integers(5, 400, 256), np.ones(256, bool))
    chunks = Chunks(stream, length=256, pieces=5, seed=0)
    masks = {
        tuple((collator([chunks[turn]])["labels"] >= 0).flatten().tolist()) for turn in range(5)
    }
    assert len(masks) == 5


def test_batches_of_one_step_have_rows_of_one_length_and_hide_other_words(small_tokenizer):
    collator = HidingCollator(small_tokenizer, 0, step=8)
    single = HidingCollator(small_tokenizer, 0)
    lengths = set()
    for first in range(0, 160, 8):
        parts = [
            collator(pieces_of(small_tokenizer, 2, 256, first=first + part, seed=1))
            for part in range(0, 8, 2)
        ]
        shapes = {tuple(part["input_ids"].shape) for part in parts}
        assert len(shapes) == 1
        lengths |= shapes
        assert len({tuple(part["labels"].flatten().tolist()) for part in parts}) == 4
        # The first batch of a step is the one that a step of one batch would have.
        alone = single(pieces_of(small_tokenizer, 2, 256, first=first, seed=1))
        assert torch.equal(alone["input_ids"], parts[0]["input_ids"])
    assert len(lengths) == 4


@given(st.integers(1, 40), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_rows_of_any_length_can_be_measured_on(small_tokenizer, length, place):
    collator = HidingCollator(small_tokenizer, 0, shortest=length)
    batch = collator(pieces_of(small_tokenizer, 2, length, first=place))
    assert batch["input_ids"].shape == (2, length)
