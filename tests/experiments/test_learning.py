"""Learned criteria: what they see and aim at, that they predict what was fitted, and files without pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from experiments import learned_criterion, learning
from experiments.learning import REGRESSORS, lasting, learn
from lth_keras.criteria import Learned, State, criterion, takes_data
from lth_keras.criteria.learned import features
from lth_keras.mask import Mask
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.tiny import make, masks_of

Searches = list[tuple[State, list[Mask]]]


@pytest.fixture(scope="module")
def searches(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Searches:
    """Three by SynFlow, level by level in four shots."""
    search = make(network, criterion="synflow", shots=4, samples_per_class=4, scope="global", rates=0.5, levels=3)
    run = search.run(3, out=tmp_path_factory.mktemp("run"))
    return [(search.drawn_state(seed), masks_of(run, seed, "winning_ticket", 3)) for seed in range(3)]


def test_a_teacher_is_read_from_its_run(network: Network, tmp_path: Path) -> None:
    teacher = learned_criterion.TEACHER
    run = make(network, variants={teacher: {"criterion": "synflow"}}).run(branches=(teacher,), out=tmp_path)
    state, masks = learned_criterion.Config(levels=2).search_of(run, 0)
    assert state.mask == masks[0] and [mask.size for mask in masks] == [176, 176, 176]
    assert masks[2].is_subset(masks[1]) and masks[1].kept < 176


def test_features_are_scores_without_unit_and_those_of_units_beside_them(searches: Searches) -> None:
    state, _ = searches[0]
    seen, more = features(state), features(state, extended=True)
    weights = np.concatenate([np.abs(state.final[key]).ravel() for key in state.mask])
    hidden = np.abs(state.final["hidden/kernel"])
    np.testing.assert_allclose(seen["hidden/kernel"][:, 0], np.log1p(hidden.ravel() / weights.mean()), rtol=1e-5)
    assert (seen["hidden/kernel"][:, 2] < 0).any()  # GraSP has a sign
    for key, size in tiny.SIZES.items():
        assert seen[key].shape == (size, 4) and more[key].shape == (size, 14)
        table = more[key].reshape(*state.mask[key].shape, 14)
        np.testing.assert_array_equal(more[key][:, :4], seen[key])
        assert (np.ptp(table[..., 4], axis=1) == 0).all() and (np.ptp(table[..., 5], axis=0) == 0).all()
        np.testing.assert_allclose(table[:, 0, 4], table[..., 0].mean(axis=1), rtol=1e-4)
    assert more["hidden/kernel"][0, -2] == 0 and more["output/kernel"][0, -2] == 1


def test_weights_last_as_long_as_the_sparsest_mask_has_them(searches: Searches) -> None:
    _, masks = searches[0]
    found = lasting(masks)
    for key in found:
        for mask, later in zip(masks, masks[1:], strict=False):
            went = mask[key] & ~later[key]
            np.testing.assert_allclose(found[key][went], -np.log(mask.density))
    with pytest.raises(ValueError, match="each is a subset of the one before"):
        lasting(masks[::-1])


@few("extended", [False, True], True)
@few("regressor", REGRESSORS, "linear", "forest")
def test_what_is_saved_is_read_back_without_pickle_and_scores_the_same(
    searches: Searches, tmp_path: Path, regressor: str, extended: bool
) -> None:
    made = learn(regressor, searches, extended=extended, seed=1)
    made.save(tmp_path / "learned.npz")
    with np.load(tmp_path / "learned.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file)
    read = criterion(f"learned({tmp_path / 'learned.npz'})")
    assert isinstance(read, Learned) and takes_data(read) and read.extended == extended
    again = learn(regressor, searches, extended=extended, seed=1)
    state, masks = searches[0]
    scores, aims = made(state), lasting(masks)
    for key, kept in state.mask.items():
        assert scores[key].shape == kept.shape and scores[key].dtype == np.float32
        np.testing.assert_array_equal(read(state)[key], scores[key])
        np.testing.assert_array_equal(again(state)[key], scores[key])
    ours = np.concatenate([scores[key].ravel() for key in aims])
    if regressor != "mlp":  # 528 examples are few for it
        assert np.corrcoef(ours, np.concatenate([aims[key].ravel() for key in aims]))[0, 1] > 0.4


def test_trees_predict_what_scikit_learn_does(monkeypatch: pytest.MonkeyPatch, searches: Searches) -> None:
    fitted = []
    fit = RandomForestRegressor.fit
    monkeypatch.setattr(RandomForestRegressor, "fit", lambda *arguments: fitted.append(fit(*arguments)) or fitted[0])
    monkeypatch.setattr(learning, "LEAF", 2)
    made = learn("forest", searches)
    x = features(searches[0][0])["hidden/kernel"]
    expected = fitted[0].predict(((x - made.mean) / made.scale).astype(np.float32))
    np.testing.assert_allclose(made.predict(x), expected, rtol=1e-5)
    assert len(made.arrays["roots"]) == 20 and np.ptp(expected) > 0


@pytest.mark.slow
def test_the_network_predicts_what_keras_does(monkeypatch: pytest.MonkeyPatch, searches: Searches) -> None:
    models: list[keras.Model] = []
    fit = keras.Sequential.fit
    monkeypatch.setattr(keras.Sequential, "fit", lambda model, *a, **k: models.append(model) or fit(model, *a, **k))
    made = learn("mlp", searches)
    x = features(searches[0][0])["hidden/kernel"]
    expected = models[0].predict(((x - made.mean) / made.scale).astype(np.float32), verbose=0)[:, 0]
    np.testing.assert_allclose(made.predict(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_it_is_applied_before_training_in_a_search(network: Network, searches: Searches, tmp_path: Path) -> None:
    path = tmp_path / "tree.npz"
    learn("tree", searches).save(path)
    changes = {"rates": None, "densities": (0.25,), "levels": 1, "when": "before_training", "scope": "global"}
    search = make(network, criterion=f"learned({path})", samples_per_class=4, **changes)
    mask = masks_of(search.run(out=tmp_path), 0, "winning_ticket", 1)[1]
    by_synflow = make(network, criterion="synflow", **changes).run(out=tmp_path)
    assert mask.kept == 44 and mask.jaccard(masks_of(by_synflow, 0, "winning_ticket", 1)[1]) > 0.3


def test_a_file_whose_trees_never_end_or_whose_header_asks_for_terabytes_is_refused(
    searches: Searches, tmp_path: Path
) -> None:
    path = tmp_path / "tree.npz"
    learn("tree", searches).save(path)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    for name, change in {"left": 0, "right": 10**6, "roots": -1}.items():
        changed = arrays[name].copy()
        changed[0] = change
        np.savez(path, **{**arrays, name: changed})
        with pytest.raises(ValueError, match=r"whose children come behind them"):
            criterion(f"learned({path})")
    with zipfile.ZipFile(path, "w") as archive, archive.open("kind.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2**46,)})
    with pytest.raises(ValueError, match="a learned criterion that lth_keras saved"):
        criterion(f"learned({path})")


def test_what_is_no_learned_criterion_is_refused(searches: Searches, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", kind="linear")
    np.savez(tmp_path / "pickled.npz", kind=np.array([{}], object), extended=False, mean=0, scale=1)
    for name in ("text", "other", "pickled"):
        with pytest.raises(ValueError, match=f"a learned criterion that lth_keras saved. Received: .*{name}.npz"):
            criterion(f"learned({tmp_path / name}.npz)")
    with pytest.raises(FileNotFoundError):
        criterion("learned(nowhere.npz)")
    with pytest.raises(ValueError, match="Expected a regressor of linear, sgd.*Received: 'ridge' and 3 searches"):
        learn("ridge", searches)
