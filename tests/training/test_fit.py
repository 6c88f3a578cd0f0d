import csv
import json
import random

import numpy as np
import pytest
import torch

from lessons_lib.training import Preset, TrainingDiverged, fit, load_weights
from tests.training.systems import Tiny


def weights(run):
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_a_run_leaves(tmp_path):
    run = fit(Tiny(), "quick", out=tmp_path / "run", progress=False)
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        "best.safetensors",
        "checkpoints",
        "last.safetensors",
        "ledger.json",
        "log.csv",
        "settings.json",
        "tensorboard",
    }
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000120"]
    ledger = json.loads((folder / "ledger.json").read_text())
    assert ledger["recipe"] == "tiny" and ledger["seed"] == 0 and ledger["preset"] == "quick"
    assert ledger["metrics"] == run.metrics
    assert ledger["settings"]["steps"] == 120 and ledger["versions"]["torch"] == torch.__version__
    assert ledger["seconds"] > 0 and "CPU" in ledger["device"]
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["loss"]] == list(range(10, 121, 10))
    assert [int(row["step"]) for row in rows if row["negative_error"]] == [40, 80, 120]
    model, facts = load_weights(Tiny(), folder / "last.safetensors")
    assert same(model.state_dict(), weights(run))
    assert facts["options"]["dropout"] == 0.3 and facts["step"] == 120


def test_tensorboard_has_the_scalars(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(Tiny(), "plain", out=tmp_path, progress=False)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "error", "extra", "learning_rate", "negative_error"} <= set(
        events.Tags()["scalars"]
    )
    assert events.Scalars("loss")[-1].step == 10


def test_a_seed_is_a_run_and_global_random_state_is_left_alone():
    random.seed(1), np.random.seed(2), torch.manual_seed(3)  # noqa: NPY002
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    first = weights(fit(Tiny(), "quick", progress=False))
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.manual_seed(4)
    assert same(first, weights(fit(Tiny(), "quick", progress=False)))
    assert not same(first, weights(fit(Tiny(), "quick", seed=1, progress=False)))


def test_it_learns():
    run = fit(Tiny(), "quick", progress=False, steps=300, dropout=0.0)
    assert run.metrics["negative_error"] > -0.003  # the variance of the target is 1/128


def test_a_run_that_stopped_after_its_last_step_only_measures(tmp_path):
    first = fit(Tiny(), "plain", out=tmp_path, progress=False)
    again = fit(Tiny(), "plain", out=tmp_path, resume=True, progress=False)
    assert same(weights(first), weights(again)) and first.metrics == again.metrics


def test_nan_names_step_term_and_samples(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"step \d+: loss term extra is nan .*noise-13"):
        fit(Tiny(), "quick", out=tmp_path, progress=False, nan_at=13)
    assert not (tmp_path / "last.safetensors").exists()


def test_workers_change_nothing():
    alone = weights(fit(Tiny(), "plain", progress=False))
    assert same(alone, weights(fit(Tiny(), "plain", progress=False, workers=2)))


def test_mixed_precision_and_back():
    exact = weights(fit(Tiny(), "plain", progress=False))
    rough = weights(fit(Tiny(), "plain", progress=False, precision="bf16"))
    assert not same(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.05, atol=0.01)
    assert same(exact, weights(fit(Tiny(), "plain", progress=False)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "slow"}, "preset 'slow' is unknown; recipe tiny has: quick, plain"),
        ({"step": 3}, "setting 'step' is unknown; the preset has: batch_size"),
        ({"steps": "many"}, "steps is 'many'; it must be a int"),
        ({"steps": 0}, "steps is 0"),
        ({"schedule": "wave"}, "schedule is 'wave'"),
        ({"resume": True}, "out is None"),
        ({"samples": 0}, "no sample to train on"),
    ],
)
def test_bad_input_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        fit(Tiny(), **{"preset": "plain", "progress": False, **options})


def test_two_runs_are_never_mixed(tmp_path):
    fit(Tiny(), "plain", out=tmp_path, progress=False)
    with pytest.raises(ValueError, match="holds a run; resume it"):
        fit(Tiny(), "plain", out=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"other settings: learning_rate was 0.01, is 0.02"):
        fit(Tiny(), "plain", out=tmp_path, resume=True, progress=False, learning_rate=0.02)


def test_settings_from_text():
    preset = Tiny.presets["quick"].with_settings(
        {"steps": "7", "learning_rate": "1e-4", "normalize": "False", "precision": "bf16"}
    )
    assert (preset.steps, preset.learning_rate) == (7, 1e-4)
    assert preset.options["normalize"] is False and preset.precision == "bf16"
    assert Tiny.presets["quick"].options["normalize"] is True


@pytest.mark.parametrize("schedule", ["cosine", "linear", "poly", "constant"])
def test_schedules(schedule):
    preset = Preset(steps=100, learning_rate=2.0, warmup=10, schedule=schedule)
    rates = [preset.learning_rate_at(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[10] == 2.0
    later = rates[10:]
    assert later == sorted(later, reverse=True) and min(later) > 0
    expected = {"cosine": 1.0, "linear": 1.0, "poly": 2 * 0.5**0.9, "constant": 2.0}[schedule]
    assert preset.learning_rate_at(55) == pytest.approx(expected)


def test_weights_are_refused_with_reasons(tmp_path):
    from lessons_lib.training.state import save_weights

    with pytest.raises(FileNotFoundError, match="no weights of recipe tiny come with the package"):
        load_weights(Tiny())
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_weights(Tiny(), tmp_path / "nowhere.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"12345678 not a header")
    with pytest.raises(ValueError, match=r"broken\.safetensors is not a readable"):
        load_weights(Tiny(), broken)
    model = Tiny().model(Tiny.presets["quick"].options)
    other = tmp_path / "other.safetensors"
    save_weights(model, other, {"recipe": "else", "options": {}})
    with pytest.raises(ValueError, match="recipe else, not tiny"):
        load_weights(Tiny(), other)
    save_weights(model, other, {"recipe": "tiny", "options": {"dropout": 0, "normalize": False}})
    with pytest.raises(ValueError, match="does not fit recipe tiny"):
        load_weights(Tiny(), other)


def test_small_weights_are_bytes_with_a_scale_for_each_channel(tmp_path):
    from lessons_lib.training.state import read_weights, save_weights

    model = torch.nn.Sequential(torch.nn.Conv2d(16, 32, 3), torch.nn.BatchNorm2d(32))
    with torch.no_grad():
        model[0].weight[3] *= 1000  # one channel's size is nobody else's concern
        model[0].weight[4] = 0
        model[1].running_var[0] = 1e6
    save_weights(model, tmp_path / "small.safetensors", {"recipe": "tiny"}, small=True)
    save_weights(model, tmp_path / "whole.safetensors", {"recipe": "tiny"})
    tensors, _ = read_weights(tmp_path / "small.safetensors")
    state = model.state_dict()
    assert tensors.keys() == state.keys()
    for name, value in state.items():
        assert tensors[name].dtype == value.dtype
    kernel, stored = state["0.weight"], tensors["0.weight"]
    most = kernel.abs().amax((1, 2, 3), keepdim=True)
    assert bool(((stored - kernel).abs() <= most / 254 * 1.001).all())
    assert bool((stored[4] == 0).all())
    assert float(tensors["1.running_var"][0]) == 1e6  # too large for half precision
    torch.testing.assert_close(tensors["0.bias"], state["0.bias"], rtol=1e-3, atol=1e-6)
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("small", "whole")]
    assert sizes[0] < 0.35 * sizes[1]
