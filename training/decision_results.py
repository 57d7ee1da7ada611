"""Tables of docs/results.md: how soon a recogniser decides, and how often it answers where nothing is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Moments that the table shows; the picture has all.
_MOMENTS_MS = (100, 200, 300, 500, 800, 1200)


def decision_rows(results: Path) -> Iterator[str]:
    """The section, for every file that `python -m training.decisions` left in `results`; nothing without one."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("decisions_*.json"))]
    if not found:
        return
    yield ""
    yield "## Time to decision"
    yield ""
    yield (
        "Accuracy of the highest score after so many milliseconds of a clip, each from rest; `window` starts anew after every "
        "window. Then the decision layer as it runs live: clips with a stable label, whether the first and the last of these "
        "were right, and how long the first took."
    )
    yield ""
    titles = ["recogniser, readout", *(f"{moment} ms" for moment in _MOMENTS_MS)]
    titles += ["decided", "first right", "last right", "median", "90 %"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for result in found:
        for readout, measured in result["readouts"].items():
            yield _row(result, readout, measured)
    yield ""
    for result in found:
        name = result["checkpoint"]
        yield f"- `{result['command']}`: {result['n_clips']} clips, {result['date']}; [curves](images/decisions_{name}.svg)."
    yield from _alarm_rows(found)


def _row(result: dict[str, Any], readout: str, measured: dict[str, Any]) -> str:
    curve, decisions = measured["accuracy"], measured["decisions"]
    bins = [moment * 1000 // result["delta_t_us"] for moment in _MOMENTS_MS]
    shares = [f"{curve[n - 1]:.3f}" if 0 < n <= len(curve) else "" for n in bins]
    cells = [f"{decisions[name]:.3f}" for name in ("decided", "first_right", "last_right")]
    times = ["" if decisions[name] is None else f"{decisions[name]:.0f} ms" for name in ("median_ms", "p90_ms")]
    return f"| `{result['checkpoint']}`, {readout} | {' | '.join(shares + cells + times)} |"


def _alarm_rows(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [(result, kind, alarms) for result in found for kind, alarms in result["alarms"].items()]
    if not rows:
        return
    yield ""
    yield (
        "False alarms, on scenes of the simulator that hold no gesture: stable labels that began, a minute. Kinds marked as "
        "trained were among the clips of `nothing` that it learnt from, drawn from other seeds; it never saw the others."
    )
    yield ""
    yield "| recogniser | scene | trained | minutes | alarms a minute | share of time with a label | which |"
    yield "|---|---|---|---|---|---|---|"
    for result, kind, alarms in rows:
        which = ", ".join(f"{label} {n}" for label, n in alarms["classes"].items())
        trained = "yes" if kind in result.get("trained_scenes", ()) else "no"
        cells = [trained, f"{alarms['minutes']:.1f}", f"**{alarms['per_minute']:.1f}**", f"{alarms['share']:.1%}", which]
        yield f"| `{result['checkpoint']}` | {kind} | {' | '.join(cells)} |"
