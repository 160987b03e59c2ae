import pytest

from kexue.analysis.tree_metrics import (
    AttachmentScores,
    attachment_scores,
    left_chain,
    right_chain,
)

#        the old man sleeps here: man is under sleeps, the rest under their neighbours
GOLD = [2, 2, 3, -1, 3]


def test_right_trees_are_all_of_it():
    scores = attachment_scores([GOLD, [-1]], [GOLD, [-1]])
    assert scores == AttachmentScores(1.0, 1.0, 1.0, 6)


def test_directions_count_for_uas_alone():
    # sleeps is under man instead of above it
    scores = attachment_scores([[2, 2, -1, 2, 3]], [GOLD])
    assert scores.uas == 3 / 5
    assert scores.uuas == 1.0


@pytest.mark.parametrize(
    ("head", "near"),
    [(2, True), (3, True), (1, False), (4, False), (-1, False)],
)
def test_a_turned_edge_is_near(head, near):
    # The first word: man is right, sleeps is the head of man.
    predicted = [head, *GOLD[1:]]
    scores = attachment_scores([predicted], [GOLD], keep=[[True] + [False] * 4])
    assert scores.ned == float(near)
    assert scores.uas == float(head == 2)
    assert scores.words == 1


def test_a_word_under_its_own_child_is_near():
    scores = attachment_scores([[-1, 0]], [[1, -1]])
    assert scores == AttachmentScores(0.0, 1.0, 1.0, 2)


def test_words_that_are_left_out_are_neither_right_nor_wrong():
    keep = [[True, True, True, True, False]]
    wrong = [2, 2, 3, -1, 0]
    assert attachment_scores([wrong], [GOLD], keep=keep).uas == 1.0
    assert attachment_scores([wrong], [GOLD]).uas == 4 / 5
    assert attachment_scores([wrong], [GOLD], keep=keep).words == 4


def test_the_edge_belongs_to_its_word():
    # The last word is left out, its head is not.
    keep = [[False, False, False, False, True]]
    assert attachment_scores([[-1, 0, 1, 2, 3]], [GOLD], keep=keep).uuas == 1.0
    assert attachment_scores([[-1, 0, 1, 2, 2]], [GOLD], keep=keep).uuas == 0.0


def test_roots_have_no_edge():
    assert attachment_scores([[-1]], [[-1]]).uuas == 0.0
    assert attachment_scores([], []) == AttachmentScores(0.0, 0.0, 0.0, 0)


def test_texts_count_by_their_words():
    scores = attachment_scores([[-1, 0, 0, 0], [-1]], [[-1, 0, 1, 2], [-1]])
    assert scores.uas == 3 / 5
    assert scores.uuas == 1 / 3


def test_chains_are_the_same_without_directions():
    gold = [GOLD, [1, 2, -1, 2]]
    left, right = (
        attachment_scores([chain(len(heads)) for heads in gold], gold)
        for chain in (left_chain, right_chain)
    )
    assert left.uuas == right.uuas
    assert left.uas != right.uas


@pytest.mark.parametrize("count", [1, 2, 5])
def test_chains(count):
    assert left_chain(count) == list(range(-1, count - 1))
    assert right_chain(count) == [*range(1, count), -1]
    for root in range(count):
        heads = left_chain(count, root=root)
        assert heads[root] == -1
        assert all(abs(head - word) == 1 for word, head in enumerate(heads) if word != root)


@pytest.mark.parametrize(
    ("predicted", "keep"), [([], None), ([[-1]], None), ([GOLD], [[True]]), ([GOLD], [])]
)
def test_missing_words_are_an_error(predicted, keep):
    with pytest.raises(ValueError, match="one head and one mark for each word"):
        attachment_scores(predicted, [GOLD], keep=keep)


def test_figures_as_an_object():
    scores = attachment_scores([GOLD], [GOLD])
    assert scores.to_dict() == {"uas": 1.0, "uuas": 1.0, "ned": 1.0, "words": 5}
