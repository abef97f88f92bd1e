import numpy as np

from simprod_tf.decider.folds import pair_folds

IDS = np.array([f"p{row}" for row in range(40)], object)
PAIRS = np.random.default_rng(0).integers(40, size=(200, 2))


def test_the_fold_of_a_pair_depends_on_its_ids_alone():
    found = pair_folds(IDS, PAIRS, folds=5)
    assert (pair_folds(IDS, PAIRS[:, ::-1], folds=5) == found).all()
    order = np.random.default_rng(1).permutation(40)
    moved = np.argsort(order)[PAIRS]
    assert (pair_folds(IDS[order], moved, folds=5) == found).all()
    assert set(found) == {0, 1, 2, 3, 4}


def test_all_pairs_of_a_product_of_the_first_table_are_of_one_fold():
    tables = np.array(["left", "right"] * 20)
    pairs = PAIRS[tables[PAIRS[:, 0]] != tables[PAIRS[:, 1]]]
    found = pair_folds(IDS, pairs, folds=5, tables=tables)
    left = np.where(tables[pairs[:, 0]] == "left", pairs[:, 0], pairs[:, 1])
    for product in set(left):
        assert len(set(found[left == product])) == 1
