"""Ticket files: to the bit, small, for the right model alone, and harmless when damaged or hostile."""

import io
import json
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
from keras import layers

import lth_keras as lth
from lth_keras.export import load_ticket, save_ticket
from lth_keras.masking import mask_model, set_mask, variables
from lth_keras.storage import trailer
from tests.compacting.test_random_compacting import randomise
from tests.masking.models import outputs
from tests.masking.random_models import random_model


def lenet(density, units=300):
    model = keras.Sequential(
        [keras.Input((784,)), layers.Dense(units, "relu"), layers.Dense(100, "relu"), layers.Dense(10)]
    )
    pruned = lth.prune(model, density)
    randomise(pruned, np.random.default_rng(0))
    return pruned


def several():
    x = keras.Input((7,))
    y = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(layers.Embedding(20, 8)(x))
    y = layers.BatchNormalization()(layers.Conv1D(5, 3, padding="same")(y))
    y = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3, dropout=0.1)(y, y))
    return lth.prune(keras.Model(x, layers.Dense(2)(layers.Flatten()(y))), 0.3)


@pytest.mark.parametrize("density", [0.5, 0.05])
@pytest.mark.parametrize("ending", ["h5", "safetensors"])
def test_a_ticket_loads_to_the_bit_and_is_small(tmp_path, density, ending):
    pruned, path = lenet(density), tmp_path / f"ticket.{ending}"
    save_ticket(path, pruned)
    loaded = load_ticket(path)
    mask = lth.get_mask(pruned)
    assert lth.get_mask(loaded) == mask
    for key, variable in variables(pruned).items():
        value = keras.ops.convert_to_numpy(variable)
        kept = value * mask[key] if key in mask else value
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variables(loaded)[key]), kept)
    dense = 4 * pruned.count_params()
    assert path.stat().st_size <= density * 4 * mask.size + mask.size / 8 + 4 * 410 + (1 << 16)
    assert density > 0.1 or ending != "h5" or path.stat().st_size <= 0.12 * dense


def own_loss(y, outputs):
    return keras.ops.mean((y - outputs) ** 2)


@pytest.mark.parametrize("ending", ["h5", "safetensors"])
def test_of_a_compiled_model_the_network_alone_is_in_the_file(tmp_path, ending):
    pruned, path, x = several(), tmp_path / f"ticket.{ending}", np.arange(28).reshape(4, 7) % 20
    pruned.compile(keras.optimizers.Adam(1e-2), own_loss, metrics=["mae"])
    pruned.fit(x, np.zeros((4, 2)), verbose=0)
    save_ticket(path, pruned)
    loaded = load_ticket(path)
    np.testing.assert_allclose(outputs(loaded, x), outputs(pruned, x), atol=1e-6)
    assert not loaded.compiled


def test_models_of_many_layers_load_and_into_a_model_of_ones_own(tmp_path):
    model, path = several(), tmp_path / "ticket.h5"
    save_ticket(path, model)
    x = np.random.default_rng(0).integers(0, 20, (3, 7)).astype("int32")
    for loaded in (load_ticket(path), load_ticket(path, lth.strip_masks(several()))):
        np.testing.assert_array_equal(outputs(loaded, x)[0], outputs(model, x)[0])


@pytest.mark.parametrize("seed", range(3))
def test_random_models_load(tmp_path, seed):
    while True:
        model, x = random_model(seed)
        try:
            save_ticket(tmp_path / "ticket.h5", masked := mask_model(model))
            break
        except (ValueError, NotImplementedError):  # nothing to mask, quantised, LoRA
            seed += 100
    lambdas = any(isinstance(layer, layers.Lambda) for layer in masked._flatten_layers())
    loaded = load_ticket(tmp_path / "ticket.h5", masked if lambdas else None)
    np.testing.assert_allclose(outputs(loaded, x)[0], outputs(masked, x)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("values, tolerance, share", [("float16", 1e-3, 0.5), ("int8", 1 / 127, 0.25)])
def test_values_of_fewer_bits_are_close_and_take_less(tmp_path, values, tolerance, share):
    pruned = lenet(0.5)
    save_ticket(tmp_path / "full.h5", pruned)
    save_ticket(tmp_path / "less.h5", pruned, values=values)
    loaded = load_ticket(tmp_path / "less.h5")
    for key in lth.get_mask(pruned):
        one, other = (keras.ops.convert_to_numpy(variables(m)[key]) for m in (pruned, loaded))
        one = one * lth.get_mask(pruned)[key]
        assert np.abs(one - other).max() <= tolerance * np.abs(one).max() and (other[one == 0] == 0).all()
    bits = lth.get_mask(pruned).size / 8
    full, less = ((tmp_path / f"{name}.h5").stat().st_size - bits for name in ("full", "less"))
    assert less < (share + 0.1) * full


def test_h5py_alone_reads_it(tmp_path):
    pruned, path = lenet(0.2, 30), tmp_path / "ticket.h5"
    save_ticket(path, pruned)
    script = f"""
import h5py, json, numpy as np, sys
with h5py.File({str(path)!r}) as file:
    first = json.loads(bytes(file["index"][()]))[0]
    mask = np.unpackbits(file["mask"][()])[: 784 * 30].reshape(first["shape"]).astype(bool)
    weights = np.zeros(first["shape"], "float32")
    weights[mask] = np.frombuffer(bytes(file["values"][()]), "float32")[: first["stored"]]
    print(first["key"], mask.sum(), float(np.abs(weights).sum()))
assert not any(name in sys.modules for name in ("keras", "lth_keras"))
"""
    key, kept, total = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    mask = lth.get_mask(pruned)[key]
    kernel = keras.ops.convert_to_numpy(variables(pruned)[key]) * mask
    assert int(kept) == mask.sum() and float(total) == pytest.approx(np.abs(kernel).sum(), rel=1e-5)


def test_safetensors_alone_reads_it_and_a_changed_one_is_refused(tmp_path):
    pruned, path = lenet(0.2, 30), tmp_path / "ticket.safetensors"
    save_ticket(path, pruned, values="float16")
    with safetensors.safe_open(path, framework="numpy") as file:
        first = json.loads(file.metadata()["index"])[0]
        mask = np.unpackbits(file.get_tensor("mask"))[: 784 * 30].reshape(first["shape"]).astype(bool)
        values = np.frombuffer(file.get_tensor("values").tobytes(), "float16")[: first["stored"]]
        parts = {name: file.get_tensor(name) for name in ("mask", "values")}, file.metadata()
    assert (mask == lth.get_mask(pruned)[first["key"]]).all()
    kernel = keras.ops.convert_to_numpy(variables(pruned)[first["key"]])
    np.testing.assert_array_equal(values, kernel[mask].astype("float16"))
    tensors, noted = parts
    for changed, text in (
        (({**tensors, "values": tensors["values"][::-1].copy()}, noted), "do not fit its sha256"),
        ((tensors, {**noted, "version": "2"}), "version 2; this release reads version 1"),
        (({**tensors, "mask": tensors["mask"].astype("int32")}, noted), "mask of another type than bytes"),
        (({**tensors, "values": tensors["values"][:8]}, noted), "bytes of masks and 8 of values"),
        ((tensors, {}), "format None"),
    ):
        path.write_bytes(safetensors.numpy.save(*changed))
        with pytest.raises(ValueError, match=text):
            load_ticket(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="Expected a ticket file"):
        load_ticket(path)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2)]), "masked"),
        (lambda: "model", "Expected a built Sequential or Functional model with masks. Received: str"),
        (lambda: keras.Sequential([layers.Dense(2)]), "Expected a built"),
    ],
)
def test_what_is_no_ticket_is_not_saved(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        save_ticket(tmp_path / "ticket.h5", make())
    assert not list(tmp_path.iterdir())


def test_other_values_and_layers_with_vocabularies_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected values to be one of float32, float16, int8. Received: 'int4'"):
        save_ticket(tmp_path / "ticket.h5", lenet(0.5, 8), values="int4")
    x = keras.Input((1,), dtype="int64")
    table = layers.IntegerLookup(vocabulary=[1, 2], output_mode="multi_hot")
    with pytest.raises(ValueError, match="IntegerLookup with a vocabulary"):
        save_ticket(tmp_path / "ticket.h5", mask_model(keras.Model(x, layers.Dense(2)(table(x)))))


def test_a_ticket_of_another_model_is_refused_by_name(tmp_path):
    save_ticket(tmp_path / "ticket.h5", lenet(0.5, 8))
    other = lenet(0.5, 9)
    before = outputs(other, np.ones((1, 784), "float32"))[0]
    with pytest.raises(ValueError, match=r"dense/kernel: \(784, 8\) in the file, \(784, 9\) in the model"):
        load_ticket(tmp_path / "ticket.h5", other)
    np.testing.assert_array_equal(outputs(other, np.ones((1, 784), "float32"))[0], before)


def test_a_file_of_more_than_the_limit_is_refused_before_it_is_read(tmp_path):
    save_ticket(tmp_path / "ticket.h5", lenet(0.5, 8))
    with pytest.raises(ValueError, match="more than largest=1,000"):
        load_ticket(tmp_path / "ticket.h5", largest=1000)


def rewritten(path, **parts):
    """A ticket file with other parts and a right checksum, as somebody who means harm would write it."""
    with h5py.File(path) as file:
        found = {name: file[name][()] for name in file}
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.attrs.update(format="lth_keras ticket", version=1)
        for name, value in {**found, **parts}.items():
            text = json.dumps(value).encode() if isinstance(value, list | dict | str) else value
            opened.create_dataset(name, data=np.frombuffer(text, np.uint8), compression="gzip")
    path.write_bytes(file.getvalue() + trailer(file.getvalue()))


def index_of(path):
    with h5py.File(path) as file:
        return json.loads(bytes(file["index"][()])), json.loads(bytes(file["config"][()]))


def hostile(index, config):
    """Name -> parts of a file that means harm."""
    first, *rest = index
    large = json.loads(json.dumps(config).replace('"units": 8', '"units": 100000000'))
    own = {"module": "os", "class_name": "system", "config": "touch harmed", "registered_name": None}
    code = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {
            "function": {
                "class_name": "__lambda__",
                "config": {"code": "4wEAAAAAAAAA", "defaults": None, "closure": None},
            }
        },
        "registered_name": None,
    }
    return {
        "sizes of the index": {"index": [{**first, "shape": [784, 10**9], "stored": 1}, *rest]},
        "sizes of the configuration": {"config": large},
        "another class": {"config": own},
        "code": {"config": code},
        "objects": {"index": [{**first, "values": "object"}, *rest]},
        "text in place of numbers": {"index": [{**first, "stored": "1"}, *rest]},
        "negative sizes": {"index": [{**first, "shape": [-1, -8]}, *rest]},
        "fewer values": {"values": np.zeros(8, np.uint8).tobytes()},
        "another mask": {
            "mask": np.zeros(sum(-(-int(np.prod(e["shape"])) // 8) for e in index if e["masked"]), np.uint8).tobytes()
        },
        "no list": {"index": "x"},
        "no configuration": {"config": []},
    }


HOSTILE = list(hostile([{"masked": False}], {}))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_does_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ticket.h5"
    save_ticket(path, lenet(0.5, 8))
    rewritten(path, **hostile(*index_of(path))[name])
    with pytest.raises(ValueError, match="Expected a (ticket file|model with the weights)"):
        load_ticket(path)
    assert [each.name for each in tmp_path.iterdir()] == ["ticket.h5"]
    after = keras.Sequential([keras.Input((3,)), layers.Dense(2)])  # nothing waits to be made
    assert after.count_params() == 8


def mutated(content, generator):
    """The bytes of a file with a few of them changed, cut off, or moved."""
    content = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        at = int(generator.integers(len(content)))
        kind = generator.integers(3)
        if kind == 0:
            content[at] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            del content[at : at + int(generator.integers(1, 64))]
        else:
            content[at:at] = bytes(generator.integers(0, 256, int(generator.integers(1, 16)), dtype=np.uint8))
        if not content:
            return b""
    return bytes(content)


def check_mutations(path, seed, count):
    model = lenet(0.1, 8)
    save_ticket(path, model)
    content, generator, accepted = path.read_bytes(), np.random.default_rng(seed), 0
    for _ in range(count):
        changed = mutated(content, generator)
        if changed == content:
            continue
        path.write_bytes(changed)
        try:
            loaded = load_ticket(path)
        except ValueError as error:
            assert "Expected a ticket file" in str(error)
            continue
        accepted += 1
        for one, other in zip(loaded.get_weights(), load_ticket_of(content, path).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert accepted == 0 or path.suffix == ".safetensors"  # whose header has spaces that say nothing


def load_ticket_of(content, path):
    path.write_bytes(content)
    return load_ticket(path)


@pytest.mark.parametrize("ending", ["h5", "safetensors"])
def test_a_damaged_file_is_refused(tmp_path, ending):
    check_mutations(tmp_path / f"ticket.{ending}", 0, 200)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hundred_thousand_damaged_files_are_refused(tmp_path, seed):
    check_mutations(tmp_path / "ticket.h5", seed, 10_000)


@pytest.mark.slow
def test_ten_thousand_damaged_safetensors_are_refused(tmp_path):
    check_mutations(tmp_path / "ticket.safetensors", 0, 10_000)


def test_a_file_of_another_kind_and_none_are_named(tmp_path):
    path = tmp_path / "mask.npz"
    lth.save_mask(path, lth.get_mask(lenet(0.5, 8)))
    with pytest.raises(ValueError, match="mask.npz"):
        load_ticket(path)
    with pytest.raises(FileNotFoundError):
        load_ticket(tmp_path / "none.h5")


def test_masks_are_those_of_the_file_also_where_the_model_has_others(tmp_path):
    model = lenet(0.5, 8)
    save_ticket(tmp_path / "ticket.h5", model)
    other = lenet(0.5, 8)
    set_mask(other, {key: ~mask for key, mask in lth.get_mask(other).items()})
    assert lth.get_mask(load_ticket(tmp_path / "ticket.h5", other)) == lth.get_mask(model)
