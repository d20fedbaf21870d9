"""Stands in for the Python that has deepmd-kit: writes what a training writes, and ends as FAKE_DEEPMD says.

Called as ``fake_deepmd.py LAUNCH PARENT BACKEND TASK ...``. A training runs in steps of 10 and leaves
the arguments it got.
"""

import json
import os
import sys
import time
import zipfile
from pathlib import Path

MODE = os.environ.get("FAKE_DEEPMD", "")
STEPS = 100


def checkpoint(name: str) -> None:
    with zipfile.ZipFile(name, "w") as archive:
        archive.writestr("data.pkl", b"weights")


def train(arguments: list[str]) -> None:
    with Path("calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    first = 0
    if "--restart" in arguments:
        first = int(arguments[arguments.index("--restart") + 1].split("-")[1].split(".")[0])
    curve = Path("lcurve.out").open("a", buffering=1)  # noqa: SIM115
    log = Path("val.log").open("a", buffering=1)  # noqa: SIM115
    if not first:
        curve.write("# step rmse_val rmse_trn rmse_e_val rmse_e_trn rmse_f_val rmse_f_trn lr\n")
        log.write("# step E_MAE(meV/atom) E_RMSE(meV/atom) F_MAE(meV/A) F_RMSE(meV/A) S_RMSE(meV/A^3)\n")
    for step in range(first + 10, STEPS + 1, 10):
        error = abs(step - 30) + 1 if MODE == "plateau" else 200 - step
        loss = "nan" if MODE == "nan" and step > 20 else f"{error:.2e}"
        curve.write(f"{step} 1.0 {loss} 1.0 {1e-3 * error:.3e} 1.0 nan 1e-3\n")
        log.write(f"{step} 0.5 {error} 0.5 {2 * error} nan\n")
        if MODE != "plateau" or step <= 30:
            checkpoint(f"best.ckpt-{step}.t-1.pt")
            Path(f"best.ckpt-{step - 10}.t-1.pt").unlink(missing_ok=True)
            log.write(f"# saved best checkpoint: best.ckpt-{step}.t-1.pt (F:RMSE = {2 * error} meV/A)\n")
        if MODE == "full" and step == 50:
            Path("model.ckpt-50.pt").write_bytes(b"half a checkpoint")
            sys.exit("OSError: [Errno 28] No space left on device")
        if MODE == "crash" and step == 50:
            sys.exit("RuntimeError: something else")
        checkpoint(f"model.ckpt-{step}.pt")
        time.sleep(10 if MODE == "slow" and step == 50 else 0.02)


def main() -> None:
    task, *rest = sys.argv[4:]
    if MODE == "absent":
        sys.exit("ModuleNotFoundError: No module named 'deepmd'")
    if MODE == "torch":
        sys.exit("ImportError: libtorch_cpu.so: undefined symbol: _ZN5torch")
    if task == "versions":
        print(json.dumps({"deepmd-kit": "3.2.0", "torch": "2.13.0", "operators": "plain PyTorch"}))
    else:
        train(rest)


main()
