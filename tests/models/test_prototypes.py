import numpy as np
import pytest

from models.prototypes import ClassExamples, learn

D = 6


def cloud(centre, n, seed, spread=0.1):
    rng = np.random.default_rng(seed)
    return (np.asarray(centre) + spread * rng.standard_normal((n, D))).astype(np.float32)


def shown(name, centre, seed, n_examples=4, n_windows=5):
    return ClassExamples(name, cloud(centre, n_examples * n_windows, seed), np.repeat(np.arange(n_examples), n_windows))


A, B, FAR = np.eye(D)[0], np.eye(D)[1], 3 * np.eye(D)[2]


def test_what_is_near_a_class_is_that_class_and_what_is_far_is_none():
    prototypes = learn([shown("a", A, 0), shown("b", B, 1)], cloud(FAR, 30, 2))
    scores = prototypes.scores(np.concatenate([cloud(A, 5, 3), cloud(B, 5, 4), cloud(FAR, 5, 5)]))
    assert scores[:5].argmax(axis=1).tolist() == [0] * 5
    assert scores[5:10].argmax(axis=1).tolist() == [1] * 5
    assert (scores[:10].sum(axis=1) > 0.5).all()
    assert (scores[10:].sum(axis=1) < 0.01).all()
    assert (scores >= 0).all()
    assert (scores.sum(axis=1) <= 1 + 1e-9).all()


def test_one_example_of_one_class_is_enough_to_begin_with():
    prototypes = learn([shown("a", A, 0, n_examples=1)])
    scores = prototypes.scores(np.concatenate([A[None], cloud(FAR, 4, 8)]).astype(np.float32)).sum(axis=1)
    assert scores[0] > 0.9
    assert (scores[1:] < 0.01).all()


def test_a_single_window_of_equal_numbers_breaks_nothing():
    prototypes = learn([ClassExamples("a", np.ones((1, D), np.float32), np.zeros(1, np.int64))])
    assert np.isfinite(prototypes.scores(np.ones((1, D), np.float32))).all()
    assert prototypes.scores(np.full((1, D), 2, np.float32)).sum() < 0.01


def test_distance_is_that_of_the_shrunk_covariance():
    """Two windows at m +- e0: within-class covariance is diag(2, 0) over n - 1, worked out by hand."""
    vectors = np.array([[2.0, 0.0], [0.0, 0.0]], np.float32)
    prototypes = learn([ClassExamples("a", vectors, np.array([0, 0]))])
    # W = diag(2, 0), tr/D = 1, S = 0.7 W + 0.3 I = diag(1.7, 0.3)
    ratio = prototypes.distances(np.array([[1.0, 1.0]], np.float32)) / prototypes.distances(np.array([[2.0, 0.0]], np.float32))
    assert ratio[0, 0] == pytest.approx((1 / 0.3) / (1 / 1.7))


def test_at_the_limit_the_scores_sum_to_one_half():
    prototypes = learn([shown("a", A, 0), shown("b", B, 1)])
    direction = np.eye(D)[4]
    lengths = np.linspace(0, 3, 20_001)
    line = (prototypes.means[0] + lengths[:, None] * direction).astype(np.float32)
    at = int(np.argmin(np.abs(prototypes.distances(line).min(axis=1) - 1)))
    assert prototypes.scores(line[at : at + 1]).sum() == pytest.approx(0.5, abs=0.01)


def test_background_near_the_examples_draws_the_limit_in():
    classes = [shown("a", A, 0), shown("b", B, 1)]
    between = (A + 0.5 * np.eye(D)[3])[None]
    free = learn(classes).limit
    bounded = learn(classes, cloud(between[0], 40, 2)).limit
    assert bounded < free
    assert learn(classes, cloud(between[0], 40, 2)).scores(between.astype(np.float32)).sum() < 0.5


# Two windows of each class along one axis, two apart along another: distances can be worked out by hand.
def pair(name, at):
    return ClassExamples(name, np.array([[at, 0.1], [at, -0.1]], np.float32), np.array([0, 1]))


def test_what_is_nearer_to_a_rival_is_no_taught_class():
    windows = np.array([[1.0, 0.0], [1.02, 0.0], [1.05, 0.0]], np.float32)
    alone, beside = learn([pair("a", 1.0)]), learn([pair("a", 1.0)], None, [pair("own", 1.06)])
    assert (alone.scores(windows)[:, 0] > 0.9).all()
    mine, near, rivals = beside.scores(windows)[:, 0]
    assert mine > near > 0.5 > rivals
    assert beside.distances(windows).shape == (3, 2)


def test_half_way_to_a_rival_half_of_the_score_is_left():
    found = learn([pair("a", 1.0)], None, [pair("own", 1.5)])
    middle = np.array([[1.25, 0.0]], np.float32)
    distance = found.distances(middle)[0]
    assert distance[0] == pytest.approx(distance[1])
    assert found.scores(middle)[0, 0] == pytest.approx(0.5 / (1 + np.exp((distance[0] - 1) / 0.1)), rel=1e-4)


def test_background_that_a_rival_claims_leaves_the_limit_alone():
    scenes = np.array([[1.05, 0.0], [1.06, 0.02]], np.float32)
    free = learn([pair("a", 1.0)], None, [pair("own", 1.06)]).limit
    assert learn([pair("a", 1.0)], scenes, [pair("own", 1.06)]).limit == free
    assert learn([pair("a", 1.0)], scenes, [pair("own", 9.0)]).limit < free


def test_precision_is_the_inverse_of_the_covariance_whether_windows_or_features_are_more():
    rng = np.random.default_rng(4)
    for n in (3, 40):
        vectors = rng.standard_normal((n, D)).astype(np.float32)
        found = learn([ClassExamples("a", vectors, np.arange(n))]).precision
        within = np.cov(vectors.astype(np.float64), rowvar=False)
        wanted = np.linalg.inv(0.7 * within + 0.3 * np.trace(within) / D * np.eye(D)) / D
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
