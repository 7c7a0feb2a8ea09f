"""The params of a run that the estimator's arguments stand for."""

from iglo.estimator.settings import growing_rounds


def test_subsets_grow_and_the_last_takes_half_or_more():
    """6000 images make the paper's subsets: 128 clusters, with 4 and then 8 images of each."""
    for count, sizes in [(6000, [512, 1024, 4464]), (48, [8, 16, 24]), (10, [4, 6]), (7, [7])]:
        rounds = growing_rounds(count, 3, epochs=1)
        taken = [item.clusters * item.per_cluster for item in rounds[:-1]]
        assert [*taken, count - sum(taken)] == sizes and rounds[-1].per_cluster is None
