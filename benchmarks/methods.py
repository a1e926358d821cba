"""What the other methods cost beside grad-cam, torchcam and captum; writes docs/benchmarks.md.

    python benchmarks/methods.py                 # all of it, about half an hour on two quiet cores
    python benchmarks/methods.py ablation costs  # some parts; the others' figures stay as they are

Also writes src/seewhy/data/costs.json, from which `seewhy methods` prints each method's cost.
Needs Python 3.11 and `pip install -c constraints.txt -e ".[zoo,bench]"`.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import gc
import importlib.metadata
import json
import platform
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from page import write_part
from timing import interleaved, processor

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
COSTS = ROOT / "src" / "seewhy" / "data" / "costs.json"
PHOTO = ROOT / "src" / "seewhy" / "data" / "photos" / "chelsea.jpg"
LAYERS = {
    "resnet50": "layer4",
    "vgg16": "features.29",
    "efficientnet_b0": "features.8",
    "densenet121": "features.norm5",
}
ABLATION = {"resnet50": 300, "vgg16": 200, "efficientnet_b0": 100, "densenet121": 100}  # targets


# --- What is timed -------------------------------------------------------------------------------


def network(name: str) -> tuple[Any, Any, str | None]:
    """The network, a photograph as it takes it, and the layer.

    Untrained and seeded, but for the demo network: of torchvision's no weights come with it.
    """
    import torch

    import seewhy
    from seewhy.images import read_image

    demo = seewhy.load_model("demo")
    inputs = demo.preprocess(read_image(PHOTO))[None]
    if name == "demo":
        return demo.module, inputs, None
    from torchvision import models

    torch.manual_seed(0)
    return models.get_model(name).eval(), inputs, LAYERS[name]


def predicted(model: Any, inputs: Any) -> int:
    import torch

    with torch.no_grad():
        return int(model(inputs).argmax())


def correlation(one: Any, other: Any) -> float:
    """Pearson's, the smaller map enlarged bilinearly to the larger one's size."""
    import torch
    from torch.nn.functional import interpolate

    maps = [torch.as_tensor(m).detach().double().reshape(1, 1, *m.shape[-2:]) for m in (one, other)]
    size = max(m.shape[-2:] for m in maps)
    flat = [
        interpolate(m, size, mode="bilinear", align_corners=False).flatten()
        if m.shape[-2:] != size
        else m.flatten()
        for m in maps
    ]
    return float(torch.corrcoef(torch.stack(flat))[0, 1])


def once(call: Callable[[], Any]) -> tuple[Any, float, int]:
    """What a call gives, its seconds, and by how many bytes it raised the resident memory."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _resident(status, "VmRSS")
    began = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - began
    return result, seconds, _resident(status, "VmHWM") - before


def _resident(status: Path, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+)", status.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def spent(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def side_by_side(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Every call once a round: the median seconds and the last result and memory of each."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    results, memory = {}, {}
    for _ in range(rounds):
        for name, call in calls.items():
            results[name], seconds, memory[name] = once(call)
            taken[name].append(seconds)
    return {
        "seconds": {name: statistics.median(some) for name, some in taken.items()},
        "results": results,
        "memory": memory,
    }


def ablation(name: str) -> Any:
    """Ablation-CAM beside grad-cam, which computes the whole network for each channel."""
    import torch
    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    import seewhy

    model, inputs, layer = network(name)
    index = predicted(model, inputs)

    def ours() -> Any:
        return seewhy.attribute(model, inputs, index, method="ablation-cam", layer=layer)

    def forward() -> Any:
        with torch.no_grad():
            return model(inputs)

    quick = interleaved(
        {"forward": _plain(forward), "seewhy": _plain(ours)}, seconds=6, at_least=7, at_most=21
    )
    targets = [ClassifierOutputTarget(index)]
    with AblationCAM(model=model, target_layers=[model.get_submodule(layer)]) as cam:
        found = side_by_side(
            {
                "seewhy": ours,
                "grad-cam": lambda: cam(input_tensor=inputs, targets=targets),
            },
            1 if name in ("vgg16", "densenet121") else 2,
        )
    theirs = found["results"]["grad-cam"]
    mine = seewhy.attribute(model, inputs, index, method="ablation-cam-relative", layer=layer)
    enlarged = torch.nn.functional.interpolate(
        mine[:, None], inputs.shape[2:], mode="bilinear", align_corners=False
    )
    return {
        "model": name,
        "forward": quick.milliseconds("forward"),
        "seewhy": quick.milliseconds("seewhy"),
        "to forward": quick.ratio("seewhy", "forward").median,
        "grad-cam": found["seconds"]["grad-cam"],
        "faster": 1e3 * found["seconds"]["grad-cam"] / quick.milliseconds("seewhy"),
        "correlation": correlation(enlarged[0, 0], theirs[0]),
        "target": ABLATION[name],
    }


def _plain(call: Callable[[], Any]) -> Any:
    from contextlib import nullcontext

    return lambda: nullcontext(call)


def cheap(_: str) -> Any:
    """Recipro-CAM, Eigen-CAM, guided backpropagation and saliency on resnet50."""
    import torch
    from captum.attr import GuidedBackprop, Saliency
    from pytorch_grad_cam import EigenCAM

    import seewhy

    model, inputs, layer = network("resnet50")
    index = predicted(model, inputs)

    def forward() -> Any:
        with torch.no_grad():
            return model(inputs)

    def ours(method: str) -> Any:
        where = {} if method in ("saliency", "guided-backprop") else {"layer": layer}
        return _plain(lambda: seewhy.attribute(model, inputs, index, method=method, **where))

    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eigen = stack.enter_context(EigenCAM(model, [model.get_submodule(layer)]))
        contestants = {
            "forward": _plain(forward),
            **{
                name: ours(name)
                for name in ("recipro-cam", "eigen-cam", "saliency", "guided-backprop")
            },
            "grad-cam's Eigen-CAM": _plain(lambda: eigen(input_tensor=inputs, targets=None)),
            "captum's saliency": _plain(lambda: Saliency(model).attribute(inputs, target=index)),
            "captum's guided backprop": _plain(
                lambda: GuidedBackprop(model).attribute(inputs, target=index)
            ),
        }
        timings = interleaved(contestants, seconds=30, at_least=9, at_most=31)
        theirs = GuidedBackprop(model).attribute(inputs, target=index)[0].abs().amax(0)
        plain = Saliency(model).attribute(inputs, target=index)[0].amax(0)
    mine = seewhy.attribute(model, inputs, index, method="guided-backprop")[0]
    apart = float((mine - theirs).abs().max() / theirs.abs().max())
    own = seewhy.attribute(model, inputs, index, method="saliency")[0]
    apart_plain = float((own - plain).abs().max() / plain.abs().max())
    return {
        "ms": {name: timings.milliseconds(name) for name in contestants},
        "to forward": {name: timings.ratio(name, "forward").median for name in contestants},
        "to captum": {
            "saliency": timings.ratio("saliency", "captum's saliency").median,
            "guided-backprop": timings.ratio("guided-backprop", "captum's guided backprop").median,
        },
        "apart": {"guided-backprop": apart, "saliency": apart_plain},
        "rounds": timings.rounds,
    }


def score(name: str) -> Any:
    """Score-CAM beside grad-cam and torchcam, each as its documentation shows."""
    from pytorch_grad_cam import ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import ScoreCAM as TorchcamScoreCAM

    import seewhy
    from seewhy import Speed
    from seewhy.models.proposing import propose_layer

    model, inputs, layer = network(name)
    index = predicted(model, inputs)
    fast = {"demo": 0.4, "resnet50": 1.0}[name]
    named = layer or propose_layer(model, inputs).layer.name

    def ours(method: str, **how: Any) -> Callable[[], Any]:
        return lambda: seewhy.attribute(model, inputs, index, method=method, layer=layer, **how)

    compiled = Speed(compiled=True)
    _, first, _ = once(ours("rise", masks=16, speed=compiled))  # compiles
    targets = [ClassifierOutputTarget(index)]
    with (
        ScoreCAM(model=model, target_layers=[model.get_submodule(named)]) as cam,
        TorchcamScoreCAM(model, target_layer=named) as extractor,
    ):
        calls = {
            "score-cam": ours("score-cam"),
            "score-cam-bounded": ours("score-cam-bounded"),
            "fast": ours("score-cam-bounded", error=fast, speed=compiled),
            "torchcam": lambda: extractor(index, model(inputs))[0],
            "grad-cam": lambda: cam(input_tensor=inputs, targets=targets),
        }
        found = side_by_side(calls, 2 if name == "demo" else 1)
    full = found["results"]["score-cam"]
    return {
        "model": name,
        "rounds": 2 if name == "demo" else 1,
        "fast error": fast,
        "compiling": first,
        "seconds": found["seconds"],
        "memory": found["memory"],
        "correlation": {
            which: correlation(found["results"][which], full)
            for which in ("score-cam-bounded", "fast")
        },
    }


def gradients(_: str) -> Any:
    """Integrated gradients of 50 steps beside captum, both eight images at a time."""
    from captum.attr import IntegratedGradients

    import seewhy

    model, inputs, _layer = network("resnet50")
    index = predicted(model, inputs)
    found = side_by_side(
        {
            "seewhy": lambda: seewhy.attribute(
                model, inputs, index, method="integrated-gradients", steps=50
            ),
            "captum": lambda: IntegratedGradients(model).attribute(
                inputs, target=index, n_steps=50, internal_batch_size=8
            ),
            "captum, all steps at once": lambda: IntegratedGradients(model).attribute(
                inputs, target=index, n_steps=50
            ),
        },
        4,
    )
    theirs = found["results"]["captum"][0].sum(0)
    return {
        "seconds": found["seconds"],
        "memory": found["memory"],
        "correlation": correlation(found["results"]["seewhy"][0], theirs),
    }


# Some take an hour; they do the same over and over, so a part of it tells.
PARTS: dict[str, tuple[str, int, int]] = {
    "ss-cam": ("samples", 1, 35),
    "is-cam": ("steps", 1, 10),
    "rise": ("masks", 400, 4000),
}


def costs(_: str) -> Any:
    """Every method on the demo network and one photograph, in forward passes."""
    import torch

    import seewhy
    from seewhy.cli.methods import list_methods

    model, inputs, layer = network("demo")
    index = predicted(model, inputs)

    def forward() -> Any:
        with torch.no_grad():
            return model(inputs)

    found = {}
    # The demo network has no attention.
    entries = [entry for entry in list_methods() if entry.asks != "attention"]
    for name in (entry.name for entry in entries):
        option, part, whole = PARTS.get(name, ("", 1, 1))
        options = {option: part} if option else {}

        def call(name: str = name, options: dict[str, int] = options) -> Any:
            return seewhy.attribute(model, inputs, index, method=name, layer=layer, **options)

        # A layer is named: to propose one takes a forward pass of its own.
        # Not by once(): after it has given all memory back, a forward pass takes twice as long.
        ratios = [spent(call) / statistics.median(spent(forward) for _ in range(7))]
        if ratios[0] < 100:  # the first call of a short one warms up
            ratios = [
                spent(call) / statistics.median(spent(forward) for _ in range(5)) for _ in range(5)
            ]
        found[name] = statistics.median(ratios) * whole / part
        print(f"  {name}: {found[name]:.2f}", file=sys.stderr, flush=True)
    return {name: float(f"{cost:.3g}") for name, cost in found.items()}


PARTS_OF_PAGE: dict[str, tuple[Callable[[str], Any], list[str]]] = {
    "ablation": (ablation, list(LAYERS)),
    "cheap": (cheap, ["resnet50"]),
    "gradients": (gradients, ["resnet50"]),
    "score": (score, ["demo", "resnet50"]),
    "costs": (costs, ["demo"]),
}


# --- The page ------------------------------------------------------------------------------------


def setting() -> str:
    import torch

    version = importlib.metadata.version
    return (
        f"{datetime.date.today().isoformat()}; {processor()}, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {version('torch')}; grad-cam "
        f"{version('grad-cam')}, torchcam {version('torchcam')}, captum {version('captum')}"
    )


def met(holds: bool) -> str:
    return "yes" if holds else "**no**"


def ablation_table(found: list[Any]) -> str:
    rows = [
        "| model | forward | seewhy | grad-cam | faster | target | met | Pearson |",
        "|---|--:|--:|--:|--:|--:|---|--:|",
    ]
    for one in found:
        rows.append(
            f"| {one['model']} | {one['forward']:.0f} ms | {one['seewhy']:.0f} ms "
            f"({one['to forward']:.2f}×) | {one['grad-cam']:.1f} s | {one['faster']:.0f}× "
            f"| {one['target']}× | {met(one['faster'] >= one['target'])} "
            f"| {one['correlation']:.6f} |"
        )
    return "\n".join(rows)


def cheap_table(found: list[Any]) -> str:
    (one,) = found
    rows = ["| on resnet50 | ms | forwards | target | met |", "|---|--:|--:|---|---|"]
    limits = {"recipro-cam": 1.5, "eigen-cam": 1.1}
    for name, spent in one["ms"].items():
        target = verdict = ""
        if name in limits:
            target = f"at most {limits[name]} forwards"
            verdict = met(one["to forward"][name] <= limits[name])
        if name in one["to captum"]:
            ratio = one["to captum"][name]
            target = f"no slower than captum ({ratio:.2f}×)"
            verdict = met(ratio <= 1.02)
        forwards = one["to forward"][name]
        rows.append(f"| {name} | {spent:.1f} | {forwards:.2f} | {target} | {verdict} |")
    apart = one["apart"]
    rows += [
        "",
        f"{one['rounds']} rounds. From captum's map, the colours' largest absolute value, ours "
        f"differs by at most {apart['guided-backprop']:.1g} of it for guided backpropagation and "
        f"{apart['saliency']:.1g} for saliency.",
    ]
    return "\n".join(rows)


def score_table(found: list[Any]) -> str:
    rows = [
        "| model | | seconds | against the fastest peer | memory | Pearson | target | met |",
        "|---|---|--:|--:|--:|--:|---|---|",
    ]
    for one in found:
        seconds, memory = one["seconds"], one["memory"]
        best = min(seconds["torchcam"], seconds["grad-cam"])
        demo = one["model"] == "demo"
        wanted = {
            "score-cam": (1.0, "no slower than the fastest peer") if not demo else None,
            "score-cam-bounded": (1.7, "1.7× faster, the same map") if demo else None,
            "fast": (5.0, "5× faster at Pearson ≥ 0.999"),
        }
        for name, spent in seconds.items():
            target = verdict = pearson = ""
            if name in one["correlation"]:
                pearson = f"{one['correlation'][name]:.6f}"
            asked = wanted.get(name)
            if asked is not None:
                limit, target = asked
                close = {"fast": 0.999, "score-cam-bounded": 0.99995}.get(name, -1.0)
                close_enough = one["correlation"].get(name, 1.0) >= close
                verdict = met(best / spent >= limit and close_enough)
            title = f"bounded by {one['fast error']}, compiled" if name == "fast" else name
            rows.append(
                f"| {one['model']} | {title} | {spent:.1f} | {best / spent:.2f}× "
                f"| {memory[name] / 2**20:.0f} MiB | {pearson} | {target} | {verdict} |"
            )
    resnet = next((one for one in found if one["model"] == "resnet50"), None)
    if resnet:
        share = resnet["memory"]["score-cam"] / resnet["memory"]["grad-cam"]
        rows += [
            "",
            "What the call adds to the resident memory; on resnet50 ours is "
            f"{share:.2f} of grad-cam's (target: at most 0.2, {met(share <= 0.2)}). "
            "Compiling, not counted above, took "
            + " and ".join(f"{one['compiling']:.0f} s ({one['model']})" for one in found)
            + "; medians of "
            + ", ".join(f"{one['rounds']} ({one['model']})" for one in found)
            + " rounds.",
        ]
    return "\n".join(rows)


def gradients_table(found: list[Any]) -> str:
    (one,) = found
    rows = ["| 50 steps on resnet50 | seconds | memory |", "|---|--:|--:|"]
    rows += [
        f"| {name} | {spent:.2f} | {one['memory'][name] / 2**20:.0f} MiB |"
        for name, spent in one["seconds"].items()
    ]
    holds = one["seconds"]["seewhy"] <= 1.02 * one["seconds"]["captum"]
    rows += ["", f"No slower than captum in as much memory: {met(holds)}. Pearson "]
    rows[-1] += f"{one['correlation']:.6f}."
    return "\n".join(rows)


TABLES: dict[str, Callable[[list[Any]], str]] = {
    "ablation": ablation_table,
    "cheap": cheap_table,
    "gradients": gradients_table,
    "score": score_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS_OF_PAGE))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    parts = args.parts or list(PARTS_OF_PAGE)
    if args.only:  # one case, in a process of its own
        warnings.simplefilter("ignore")
        from seewhy.memory import keep_freed_memory

        if parts[0] not in ("score", "gradients"):  # where memory is measured, too
            keep_freed_memory()
        print(json.dumps(PARTS_OF_PAGE[parts[0]][0](args.only)))
        return
    for part in parts:
        found = []
        for name in PARTS_OF_PAGE[part][1]:
            print(f"{part}: {name}", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, part, "--only", name]
            finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if finished.returncode:
                raise SystemExit(f"{part} of {name} failed; its message stands above")
            found.append(json.loads(finished.stdout.splitlines()[-1]))
        if part == "costs":
            COSTS.write_text(json.dumps(found[0], indent=2) + "\n", encoding="utf-8")
        else:
            made = f"{setting()}\n\n{TABLES[part](found)}"
            write_part(PAGE, part, "methods.py", made)


if __name__ == "__main__":
    main()
