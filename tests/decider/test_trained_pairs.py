from simprod_tf.decider.trained_pairs import TrainedPairs


def test_pairs_are_known_again_in_either_direction_and_others_are_not():
    trained = TrainedPairs.of(["a", "b", "a"], ["b", "c", "b"])
    assert len(trained) == 2
    found = trained.holds(["b", "a", "c", "a"], ["a", "c", "b", "b"])
    assert found.tolist() == [True, False, True, True]


def test_ids_do_not_run_into_each_other():
    assert not TrainedPairs.of(["ab"], ["c"]).holds(["a"], ["bc"])[0]


def test_no_pairs_are_none():
    assert len(TrainedPairs.of([], [])) == 0
    assert TrainedPairs.of(["a"], ["b"]).holds([], []).tolist() == []
