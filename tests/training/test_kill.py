"""A run that is killed, again and again, ends with the weights of one that was not."""

import multiprocessing
import os
import random
import signal
import time

import pytest
import torch

from lessons_lib.training import fit
from lessons_lib.training.state import read_weights
from tests.training.systems import Tiny

SETTINGS = {"steps": 400, "slow": 0.01}  # long enough that a dozen kills come before the end


def train(folder):
    torch.set_num_threads(1)
    fit(Tiny(), "quick", out=folder, resume=True, progress=False, **SETTINGS)


@pytest.fixture(scope="module")
def processes():
    """New processes that start with torch already imported: ten kills in seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.test_kill"])
    return context


def finished(folder):
    return (folder / "ledger.json").exists()


def test_killed_at_random_points(tmp_path, processes):
    reference = tmp_path / "reference"
    job = processes.Process(target=train, args=(reference,))
    job.start(), job.join()
    assert job.exitcode == 0

    folder = tmp_path / "killed"
    rng = random.Random(0)
    kills = writing = 0
    while not finished(folder):
        job = processes.Process(target=train, args=(folder,))
        job.start()
        if kills % 2:  # in the middle of writing a checkpoint
            limit = time.monotonic() + 20
            while job.is_alive() and time.monotonic() < limit:
                if any(folder.glob("checkpoints/*.partial")):
                    break
                time.sleep(0.0005)
        else:
            time.sleep(rng.uniform(0.2, 0.6))
        if kills < 14 and job.is_alive():
            os.kill(job.pid, signal.SIGKILL)
            kills += 1
        job.join()
        if any(folder.glob("checkpoints/*.partial")):
            writing += 1
    assert kills >= 10, f"only {kills} kills before the run was through"
    assert writing >= 3, f"only {writing} of {kills} kills hit a checkpoint being written"

    expected, _ = read_weights(reference / "last.safetensors")
    got, _ = read_weights(folder / "last.safetensors")
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    # the log has no gap, no repetition and no half line
    assert (folder / "log.csv").read_bytes() == (reference / "log.csv").read_bytes()
