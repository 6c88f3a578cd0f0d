"""Two processes that share the batches reach the weights of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from lessons_lib.training.state import read_weights

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys, time, torch
torch.set_num_threads(1)
if os.environ.get("RANK") == "1":  # late with its share of each checkpoint: the first one must wait
    save = torch.save
    torch.save = lambda *args, **options: (time.sleep(0.3), save(*args, **options))
from lessons_lib.training import fit
from tests.training.systems import Tiny
fit(Tiny(), "plain", out=sys.argv[1], progress=False)
"""


def launch(folder, processes):
    script = folder.with_suffix(".py")
    script.write_text(SCRIPT)
    # --multi_gpu is accelerate's name for "start several processes"; with --cpu it starts just one
    mode = ["--multi_gpu"] if processes > 1 else ["--cpu"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", *mode, "--mixed_precision=no"),
            *("--num_machines=1", "--dynamo_backend=no", f"--num_processes={processes}"),
            *("--main_process_port=0", str(script), str(folder)),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return read_weights(folder / "last.safetensors")[0]


def test_two_processes_equal_one(tmp_path):
    one, two = launch(tmp_path / "one", 1), launch(tmp_path / "two", 2)
    ledger = json.loads((tmp_path / "two" / "ledger.json").read_text())
    assert ledger["processes"] == 2, "the second run should have had two processes"
    start = read_weights_of_step_zero()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5)
    moved = max(float((one[name] - start[name]).abs().max()) for name in one)
    assert moved > 1e-3, "ten steps should have moved the weights"


def read_weights_of_step_zero():
    from lessons_lib.training.state import isolated_random_state
    from tests.training.systems import Tiny

    with isolated_random_state(0):
        return Tiny().model(Tiny.presets["plain"].options).state_dict()
