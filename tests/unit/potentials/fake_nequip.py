"""Stands in for the Python that has nequip: writes what a training writes, and ends as FAKE_NEQUIP says.

Called as ``fake_nequip.py LAUNCH PARENT BACKEND TASK ...``. A training leaves the arguments it got.
"""

import json
import os
import sys
import time
import zipfile
from pathlib import Path

MODE = os.environ.get("FAKE_NEQUIP", "")
EPOCHS = 20
_ABSENT_EXTENSION = "ModuleNotFoundError: No module named 'allegro'"


def row(epoch: int) -> dict:
    error = abs(epoch - 6) + 1.0 if MODE == "plateau" else 40.0 - epoch
    loss = float("nan") if MODE in ("nan", "silent") and epoch > 4 else error
    rmse = {"energy": 1e-3 * error, "forces": 2e-3 * error}
    return {"epoch": epoch, "loss": loss, "learning_rate": 1e-3, "train": rmse, "validation": rmse, "score": error}


def train(arguments: list[str]) -> None:
    import numpy as np

    with Path("calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    Path("versions.json").write_text(json.dumps({"nequip": "0.19.1", "torch": "2.13.0"}))
    first = int(arguments[0].split("epoch-")[1].split(".")[0]) if arguments else 0
    curve = Path("curve.jsonl").open("a", buffering=1)  # noqa: SIM115
    for epoch in range(first + 1, EPOCHS + 1):
        line = row(epoch)
        if not MODE or epoch <= 6:
            np.savez("best.npz", weights=np.full(3, float("nan") if MODE == "poisoned" else float(epoch)))
        curve.write(json.dumps(line) + "\n")
        if MODE == "nan" and epoch > 4:
            sys.exit("FloatingPointError: the loss is not finite")
        if MODE == "full" and epoch == 5:
            Path("epoch-5.ckpt").write_bytes(b"half a checkpoint")
            curve.write('{"epoch": 6, "lo')
            sys.exit("OSError: [Errno 28] No space left on device")
        with zipfile.ZipFile(f"epoch-{epoch}.ckpt", "w") as archive:
            archive.writestr("data.pkl", b"weights")
        time.sleep(10 if MODE == "slow" and epoch == 5 else 0.02)
    np.savez("final.npz", weights=np.full(3, float("nan") if MODE in ("silent", "poisoned") else 20.0))


def finetune(arguments: list[str]) -> None:
    import numpy as np

    with Path("calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    Path("versions.json").write_text(json.dumps({"nequip": "0.19.1", "torch": "2.13.0"}))
    with Path("curve.jsonl").open("a", buffering=1) as curve:
        for turn in range(1, EPOCHS + 1):
            loss = float("nan") if MODE == "nan" and turn > 4 else 40.0 - turn
            errors = {"force_constants": 0.1 * loss, "forces": 2e-3 * loss}
            curve.write(json.dumps({"turn": turn, "loss": loss, "learning_rate": 1e-3, "train": errors}) + "\n")
            if MODE == "nan" and turn > 4:
                sys.exit("FloatingPointError: the loss is not finite")
            time.sleep(0.02)
    np.savez("final.npz", weights=np.full(3, float("nan") if MODE == "poisoned" else 20.0))


def compile_model(arguments: list[str]) -> None:
    if MODE == "compiler":
        sys.exit("there is no C++ compiler g++ (InvalidCxxCompiler)")
    if not Path("model.npz").is_file() or not Path("frame.npz").is_file():
        sys.exit("nothing to compile")
    Path(arguments[0] + "-fake.nequip.pt2").write_bytes(b"compiled")
    Path("report.json").write_text('{"cpu_seconds": 60.0, "energy": 1e-16, "forces": 2e-15, "microseconds": [80, 20]}')


def main() -> None:
    task, *rest = sys.argv[4:]
    refusals = {
        "absent": "ModuleNotFoundError: No module named 'nequip'",
        "old": "nequip 0.18.1 is installed, 0.19.* is needed",
        "extension": _ABSENT_EXTENSION if task != "versions" or "nequip-allegro" in rest else "",
        "torch": "OSError: libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent",
    }
    if refusals.get(MODE):
        sys.exit(refusals[MODE])
    if task == "versions":
        print(json.dumps({"nequip": "0.19.1", "torch": "2.13.0"}))
    elif task == "compile_model":
        compile_model(rest)
    elif task == "finetune":
        finetune(rest)
    else:
        train(rest)


main()
