"""The memory that first steps take, of adamcompat.tensorflow.Adam and of Keras's, for `scripts/scale.py memory`.

Each repetition is a process of its own, which has made a tiny step: what is counted is the most that the process held
since, without what it held before.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_first_steps import WORKLOADS
from measuring import output

# After so many steps: the first alone, and all of which one traces and others compile.
AFTER = (1, 40)
MODES = ("eager", "tf.function")
NAMES = ("ours", "theirs")
MIB = 2**20


def _status(name: str) -> int:
    """Bytes that the system reports of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name))) * 1024


def in_this_process(name: str, work: str, mode: str) -> list[int]:
    """The most bytes that were held beyond those before, after each number of steps."""
    import keras
    from bench_tensorflow import optimizer_step

    from adamcompat.tensorflow import Adam

    kind = {"ours": Adam, "theirs": keras.optimizers.Adam}[name]
    optimizer_step(kind(), [(3,)], mode)()
    step = optimizer_step(kind(), WORKLOADS[work], mode)
    # Linux begins anew to look for the most.
    Path("/proc/self/clear_refs").write_text("5")
    before, found = _status("VmRSS"), []
    for count in range(1, AFTER[-1] + 1):
        step()
        if count in AFTER:
            found.append(_status("VmHWM") - before)
    return found


def measured(processes: int = 3) -> list[dict[str, Any]]:
    """Medians of the bytes, by workload and mode."""
    rows = []
    for mode in MODES:
        for work in WORKLOADS:
            row: dict[str, Any] = {"work": work, "mode": mode}
            for name in NAMES:
                command = [sys.executable, __file__, json.dumps([name, work, mode])]
                found = [json.loads(output(command).splitlines()[-1]) for _ in range(processes)]
                row[name] = [statistics.median(each) for each in zip(*found, strict=True)]
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown, in MiB."""
    heads = [f"{whose}, {after} step{'s'[: after > 1]}" for after in AFTER for whose in ("Keras", "adamcompat")]
    lines = [f"| | {' | '.join(heads)} |", f"| --- {'| ---: ' * len(heads)}|"]
    for row in rows:
        pairs = zip(row["theirs"], row["ours"], strict=True)
        cells = [f"{value / MIB:,.1f}" for pair in pairs for value in pair]
        lines.append(f"| {row['work']}, {row['mode']} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(json.dumps(in_this_process(*json.loads(sys.argv[1]))))
