"""The tests that need an accelerator and what maps cost on it; writes docs/benchmarks-gpu.md.

    python benchmarks/gpu.py                         # in eight minutes on an H100
    python benchmarks/gpu.py --page /tmp/page.md     # the same, written elsewhere
    python benchmarks/gpu.py --device cpu --quick    # whether this script works; written nowhere

Needs torch and torchvision and reads pictures of this repository alone. Whatever else is missing
(a peer, pytest, the demo network's wheel, a compiler) is named on the page, and the rest goes on.
The page is written anew after every part, so that a run that is cut off leaves what it measured.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import gc
import importlib.metadata
import importlib.util
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from timing import Timings, interleaved, processor

ROOT = Path(__file__).resolve().parent.parent
if importlib.util.find_spec("seewhy") is None:  # a bare machine: the clone itself is used
    sys.path.insert(0, str(ROOT / "src"))

import grad_cam  # noqa: E402

import seewhy  # noqa: E402
from seewhy.errors import SeewhyError  # noqa: E402
from seewhy.images import Preprocess, read_image  # noqa: E402
from seewhy.methods import METHODS  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-gpu.md"
PHOTOS = ROOT / "src" / "seewhy" / "data" / "photos"
PEERS = {
    "torchcam": ("torchcam.methods", "torchcam"),
    "captum": ("captum.attr", "captum"),
    "grad-cam": ("pytorch_grad_cam", "grad-cam"),
}
MODELS = ("resnet50", "efficientnet_b0", "vgg16", "densenet121")
BATCHES = (1, 8, 32)
# Some do the same over and over, so a part of it tells: the option, what is run, the default.
PARTS = {"ss-cam": ("samples", 1, 35), "is-cam": ("steps", 1, 10), "rise": ("masks", 400, 4000)}

INTRODUCTION = """\
# What maps cost on an accelerator

`python benchmarks/gpu.py` measures this on the first CUDA device and rewrites the page; nobody
edits it by hand. The times are the device's own: an event is recorded before a call and one after
it, and the time between the two is read once the device has come to the second
(`torch.cuda.Event`). At a batch of one the device often waits for Python to launch the next
kernel, and that waiting is part of the time.

- All contestants of a table run in one process, in rounds: each once a round, in a new random
  order. Milliseconds are medians; a ratio is taken within each round, and the median is given.
- **Forward** is `model(images)` under `torch.no_grad()`.
- **Memory** is by how much a call raises the highest number of bytes that tensors take on the
  device (`torch.cuda.max_memory_allocated`).
- The pictures are two photographs of this repository, and windows cut from them. torchvision's
  networks are untrained and seeded, for no weights come with them.
- Numbers are computed as torch does by default: convolutions in TF32 where the device has it,
  matrix products in float32. Therefore maps differ from the CPU's by more than rounding.
"""


# --- What is measured with -----------------------------------------------------------------------


class Clock:
    """Seconds of a call on a device, and by how many bytes it raised the memory there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.has_events = device.type == "cuda"

    def seconds(self, call: Callable[[], Any]) -> float:
        """Between two events on the device; on a CPU by its clock."""
        if not self.has_events:
            began = time.perf_counter()
            call()
            return time.perf_counter() - began
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        before.record()
        result = call()
        after.record()
        after.synchronize()
        del result
        return before.elapsed_time(after) / 1e3

    def memory(self, call: Callable[[], Any]) -> int | None:
        """None where the device does not say it."""
        if not self.has_events:
            return None
        gc.collect()
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        result = call()
        torch.cuda.synchronize(self.device)
        del result
        return torch.cuda.max_memory_allocated(self.device) - before

    def side_by_side(
        self, contestants: dict[str, Any], *, seconds: float, at_least: int, at_most: int = 41
    ) -> Timings:
        return interleaved(
            contestants,
            seconds=seconds,
            at_least=at_least,
            at_most=at_most,
            seconds_of=self.seconds,
        )


@dataclass
class Session:
    """One run of this script: where it runs, how long it may take, what it wrote."""

    clock: Clock
    quick: bool
    ends: float
    page: Path | None
    sections: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return self.clock.device

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    def write(self, section: str) -> None:
        self.sections.append(section.rstrip() + "\n")
        if self.page is None:
            print(section, flush=True)
            return
        aside = self.page.with_name(self.page.name + ".part")
        aside.write_text("\n".join([INTRODUCTION, *self.sections]), encoding="utf-8")
        aside.replace(self.page)


def missing(peer: str) -> str | None:
    """Why a peer cannot stand beside us; None where it can."""
    module, package = PEERS[peer]
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"{peer} is not here: `import {module}` says {error} (pip install {package})"
    return None


def said(*commands: str) -> str:
    """The first line a program prints, or nothing where it is not there."""
    try:
        done = subprocess.run(commands, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


def photographs(size: int = 224) -> torch.Tensor:
    """32 views `(32, 3, size, size)`: both photographs, whole and in windows."""
    preprocess = Preprocess((size, size), size + 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    views = []
    for name in ("chelsea.jpg", "coffee.jpg"):
        picture = read_image(PHOTOS / name)
        height, width = picture.shape[:2]
        views.append(preprocess(picture))
        for row in range(3):
            for column in range(5):
                top, left = height * row // 6, width * column // 10
                views.append(preprocess(picture[top : top + height // 2, left : left + width // 2]))
    return torch.stack(views)


def network(name: str, session: Session) -> Any:
    from torchvision import models

    torch.manual_seed(0)
    return models.get_model(name).eval().to(session.device)


def layer_of(name: str) -> str:
    return grad_cam.LAYERS[name]


@contextmanager
def _opened(call: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    yield call


def plain(call: Callable[[], Any]) -> Callable[[], Any]:
    """A contestant with nothing to set up."""
    return lambda: _opened(call)


def forward_of(model: Any, inputs: Any) -> Callable[[], Any]:
    def forward() -> Any:
        with torch.no_grad():
            return model(inputs)

    return forward


def difference(one: Any, other: Any) -> float:
    """The largest, as a share of the other's range."""
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    reach = float(other.max() - other.min())
    return float((one - other).abs().max()) / reach if reach else math.nan


def milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.0f}"


# --- The parts: each gives Markdown --------------------------------------------------------------


def setting(session: Session) -> str:
    device = "the CPU alone"
    if session.device.type == "cuda":
        properties = torch.cuda.get_device_properties(session.device)
        driver = said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        device = (
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
            f"{properties.multi_processor_count} multiprocessors, compute capability "
            f"{properties.major}.{properties.minor}, driver {driver or 'unknown'}, "
            f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        )
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for package in ("torchvision", *(package for _, package in PEERS.values())):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    lines = [
        f"- {datetime.date.today().isoformat()}; {device}",
        f"- beside it {processor()}",
        f"- {', '.join(versions)}",
        f"- TF32 in convolutions: {_switch(torch.backends.cudnn.allow_tf32)}, in matrix products: "
        f"{_switch(torch.backends.cuda.matmul.allow_tf32)}",
    ]
    lines += [f"- {reason}." for reason in map(missing, PEERS) if reason]
    return "\n".join(lines)


def _switch(on: bool) -> str:
    return "on" if on else "off"


def marked_tests(session: Session) -> str:
    """Every test marked `gpu`, in a process of its own."""
    title = "## Tests\n\n"
    if importlib.util.find_spec("pytest") is None:
        return title + "pytest is not installed here, so no test ran (pip install pytest)."
    files = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.gpu" in path.read_text(encoding="utf-8")
    ]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # These are not the versions that CI pins: what they warn of is no failure.
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-W", "default", *files]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        environment = dict(os.environ)
        paths = [str(ROOT / "src"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        limit = max(30.0, min(240.0, session.left - 180))
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, timeout=limit, check=False, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            session.failed.append("the marked tests")
            return title + f"The tests marked `gpu` did not end within {limit:.0f} seconds."
        print(done.stdout[-6000:], file=sys.stderr, flush=True)
        if not report.exists():
            session.failed.append("the marked tests")
            last = done.stdout.strip().splitlines()[-1:]
            return title + f"pytest could not run them and ended with: `{' '.join(last)}`."
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    rows, counts = [], {"passed": 0, "failed": 0, "skipped": 0}
    for case in cases:
        verdict = "passed"
        for child in case:
            if child.tag in ("failure", "error"):
                verdict = "failed"
            elif child.tag == "skipped":
                verdict = "skipped"
        counts[verdict] += 1
        message = next((child.get("message", "") for child in case if verdict != "passed"), "")
        shown = message.splitlines()[0][:120].replace("|", "/") if message else ""
        rows.append(
            f"| {case.get('name')} | {'**failed**' if verdict == 'failed' else verdict} "
            f"| {float(case.get('time', 0)):.1f} | {shown} |"
        )
    if counts["failed"] or done.returncode not in (0, 5):
        session.failed.append("the marked tests")
    total = ", ".join(f"{count} {what}" for what, count in counts.items())
    if not counts["passed"] and not counts["failed"]:
        total += ": none of them could run on this machine"
    table = "\n".join(["| test | | seconds | |", "|---|---|--:|---|", *rows])
    return f"{title}`pytest -m gpu`: {total}.\n\n{table}"


def grad_cam_table(session: Session) -> str:
    """Grad-CAM beside its peers: times, memory, agreement."""
    names = ["forward", "seewhy", grad_cam.FIVE]
    names += [peer for peer in PEERS if missing(peer) is None]
    models = MODELS[1:2] if session.quick else MODELS
    batches = BATCHES[:1] if session.quick else BATCHES
    everything = photographs()
    heads = " | ".join(names)
    times = [f"| model | batch | {heads} |", "|---|--:|" + "--:|" * len(names)]
    memory = [f"| model | batch | {heads} |", "|---|--:|" + "--:|" * len(names)]
    apart, rounds = [], set()
    each = 1.0 if session.quick else min(9.0, session.left / 3 / (len(models) * len(batches)))
    for name in models:
        model = network(name, session)
        for batch in batches:
            inputs = everything[:batch].to(session.device)
            case = grad_cam.Case(model, layer_of(name), inputs, ()).with_classes()
            made = grad_cam.contestants(case, names)
            for peer, gap in grad_cam_differences(case, names).items():
                if not gap <= grad_cam.AGREE:
                    by = "a flat map" if math.isnan(gap) else f"by up to {gap:.2g}"
                    apart.append(f"{peer} on {name}, batch {batch}: {by}")
            timings = session.clock.side_by_side(
                made, seconds=each, at_least=3 if session.quick else 9
            )
            rounds.add(timings.rounds)
            cells = {
                who: milliseconds(timings.milliseconds(who))
                + ("" if who == "forward" else f" ({timings.ratio(who, 'forward').median:.2f}×)")
                for who in made
            }
            taken = {}
            for who, contestant in made.items():
                with contestant() as call:
                    taken[who] = mebibytes(session.clock.memory(call))
            for rows, found in ((times, cells), (memory, taken)):
                row = " | ".join(found.get(who, "") for who in names)
                rows.append(f"| {name} | {batch} | {row} |")
        del model
    agreed = (
        f"Scaled to 0..1 (and enlarged, beside grad-cam) the maps agree within {grad_cam.AGREE:g}"
    )
    agreed += f", except {'; '.join(apart)}." if apart else "."
    if len(names) == 3:
        agreed = "No peer is installed here, so no map was compared."
    spread = (
        f"{min(rounds)} rounds" if len(rounds) == 1 else f"{min(rounds)} to {max(rounds)} rounds"
    )
    parts = [
        "## Grad-CAM beside its peers\n",
        f"Milliseconds, and in brackets forward passes; {spread}. "
        "The peers take a picture of the same class at the same layer.\n",
        *times,
        f"\n{agreed}\n",
    ]
    if session.clock.has_events:
        parts += ["Memory in MiB that the call adds:\n", *memory]
    return "\n".join(parts)


def grad_cam_differences(case: Any, names: Sequence[str]) -> dict[str, float]:
    """The largest difference of each peer's map from ours, both scaled to 0..1 an image."""
    from torch.nn.functional import interpolate

    def scaled(maps: Any) -> Any:
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        return (maps - low) / (high - low)

    found: dict[str, float] = {}
    ours = None
    for name, contestant in grad_cam.contestants(case, names).items():
        if name in ("forward", grad_cam.FIVE):
            continue
        with contestant() as call:
            maps = torch.as_tensor(call()).detach().float().cpu()
        if name == "seewhy":
            ours = scaled(maps)
            continue
        maps = maps.reshape(len(ours), *maps.shape[-2:])
        mine = ours
        if maps.shape != ours.shape:
            size = tuple(maps.shape[-2:])
            mine = interpolate(ours[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        found[name] = float((scaled(mine) - scaled(maps)).abs().max())
    return found


def perturbation_table(session: Session) -> str:
    """Ablation-CAM and Score-CAM, which run the network many times, beside their peers."""
    name = "efficientnet_b0" if session.quick else "resnet50"
    model, layer = network(name, session), layer_of(name)
    inputs = photographs()[:1].to(session.device)
    with torch.no_grad():
        index = int(model(inputs).argmax())
    forward = session.clock.side_by_side(
        {"forward": plain(forward_of(model, inputs))}, seconds=1, at_least=9
    ).milliseconds("forward")

    def ours(method: str) -> Callable[[], Any]:
        return lambda: seewhy.attribute(model, inputs, index, method=method, layer=layer)

    rows = [
        f"| on {name} | | ms | forwards | memory, MiB |",
        "|---|---|--:|--:|--:|",
    ]

    def measured(method: str, who: str, call: Callable[[], Any]) -> None:
        session.clock.seconds(call)  # warms up
        spent = statistics.median(session.clock.seconds(call) for _ in range(3))
        rows.append(
            f"| {method} | {who} | {milliseconds(1e3 * spent)} | {1e3 * spent / forward:.1f} "
            f"| {mebibytes(session.clock.memory(call))} |"
        )

    measured("ablation-cam", "seewhy", ours("ablation-cam"))
    if not session.quick:
        measured("score-cam", "seewhy", ours("score-cam"))
        measured("score-cam-bounded", "seewhy", ours("score-cam-bounded"))
        for method, who, opened in perturbation_peers(model, layer, inputs, index):
            if session.left < 60:
                rows.append(f"| {method} | {who} | no time was left | | |")
                continue
            with opened() as call:
                measured(method, who, call)
    return "\n".join(
        ["## Methods that run the network many times\n", "Medians of three calls.\n", *rows]
    )


def perturbation_peers(
    model: Any, layer: str, inputs: Any, index: int
) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """The method, the peer, and what opens the peer's call; of those that are installed."""
    if missing("grad-cam") is None:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        def peer(kind: str) -> Callable[[], Any]:
            @contextmanager
            def opened() -> Iterator[Callable[[], Any]]:
                made = getattr(pytorch_grad_cam, kind)
                with made(model=model, target_layers=[model.get_submodule(layer)]) as cam:
                    cam.batch_size = 32
                    yield lambda: cam(input_tensor=inputs, targets=[ClassifierOutputTarget(index)])

            return opened

        yield "ablation-cam", "grad-cam", peer("AblationCAM")
        yield "score-cam", "grad-cam", peer("ScoreCAM")
    if missing("torchcam") is None:
        from torchcam.methods import ScoreCAM

        @contextmanager
        def torchcams() -> Iterator[Callable[[], Any]]:
            with ScoreCAM(model, target_layer=layer) as extractor:
                yield lambda: extractor(index, model(inputs))[0]

        yield "score-cam", "torchcam", torchcams


def methods_table(session: Session) -> str:
    """Every method on one photograph: its time, and how far its map is from the CPU's."""
    model, note = small_network(session)
    on_cpu = copy.deepcopy(model).cpu()
    inputs = photographs()[:1]
    on_device = inputs.to(session.device)
    with torch.no_grad():
        index = int(model(on_device).argmax())
    forward = session.clock.side_by_side(
        {"forward": plain(forward_of(model, on_device))}, seconds=1, at_least=9
    ).milliseconds("forward")
    names = list(METHODS)
    if session.quick:
        names = [name for name in names if name in QUICK]
    rows = [
        "| method | ms | forwards | memory, MiB | from the CPU's map |",
        "|---|--:|--:|--:|--:|",
    ]
    unmeasured, cannot = [], []
    for name in names:
        if session.left < 90 and not session.quick:
            unmeasured.append(name)
            continue
        option, part, whole = PARTS.get(name, ("", 1, 1))
        options = {option: part} if option else {}

        def call(name: str = name, options: dict[str, int] = options) -> Any:
            return seewhy.attribute(model, on_device, index, method=name, **options)

        try:
            first = session.clock.seconds(call)
        except SeewhyError as error:
            cannot.append(f"{name} ({str(error).split('.')[0]})")
            continue
        taken = [session.clock.seconds(call) for _ in range(7 if first < 0.5 else 1)]
        spent = 1e3 * statistics.median(taken) * whole / part
        gap = ""
        if spent < 40 * forward:
            theirs = seewhy.attribute(on_cpu, inputs, index, method=name, **options)
            gap = f"{difference(call(), theirs):.1e}"
        rows.append(
            f"| {name} | {milliseconds(spent)} | {spent / forward:.1f} "
            f"| {mebibytes(session.clock.memory(call))} | {gap} |"
        )
    after = []
    if cannot:
        after.append(f"This network cannot be asked for: {'; '.join(cannot)}.")
    if unmeasured:
        after.append(f"No time was left for: {', '.join(unmeasured)}.")
    return "\n".join(
        [
            "## Every method\n",
            f"{note} A forward pass takes {milliseconds(forward)} ms. A call proposes the layer "
            "itself. The last column is the largest difference from the map that the CPU makes, "
            "as a share of that map's range, for methods that take less than 40 forward passes.\n",
            *rows,
            *([""] if after else []),
            *after,
        ]
    )


QUICK = ("grad-cam", "eigen-cam", "recipro-cam", "saliency", "legrad", "attention-rollout")


def small_network(session: Session) -> tuple[Any, str]:
    """The demo network where its wheel is, else an untrained one of torchvision."""
    try:
        loaded = seewhy.load_model("demo", device=session.device)
    except SeewhyError as error:
        reason = str(error).split(".")[0]
        return network("efficientnet_b0", session), (
            f"The demo network cannot be loaded here ({reason}); instead torchvision's "
            "efficientnet_b0, untrained, explains one photograph."
        )
    return loaded.module, "The demo network explains one photograph."


def attention_table(session: Session) -> str:
    """The methods that look at attention, on a transformer."""
    name = "a small transformer" if session.quick else "vit_b_16"
    model = transformer(session)
    on_cpu = copy.deepcopy(model).cpu()
    inputs = photographs()[:1]
    on_device = inputs.to(session.device)
    made = {"forward": plain(forward_of(model, on_device))}
    gaps = {}
    for method in ("attention-rollout", "attention-relevance", "legrad", "grad-cam"):

        def call(method: str = method) -> Any:
            return seewhy.attribute(model, on_device, 0, method=method)

        made[method] = plain(call)
        gaps[method] = difference(call(), seewhy.attribute(on_cpu, inputs, 0, method=method))
    timings = session.clock.side_by_side(
        made, seconds=2 if session.quick else 8, at_least=3 if session.quick else 9
    )
    rows = [f"| on {name} | ms | forwards | from the CPU's map |", "|---|--:|--:|--:|"]
    for method in made:
        gap = f"{gaps[method]:.1e}" if method in gaps else ""
        rows.append(
            f"| {method} | {milliseconds(timings.milliseconds(method))} "
            f"| {timings.ratio(method, 'forward').median:.2f} | {gap} |"
        )
    return "\n".join(["## Attention\n", *rows])


def transformer(session: Session) -> Any:
    """torchvision's vit_b_16, its head no longer zero, on which no score would depend."""
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    size = (2, 3, 96, 192) if session.quick else (12, 12, 768, 3072)
    model = VisionTransformer(224, 16, *size)
    torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    return model.eval().to(session.device)


def speed_table(session: Session) -> str:
    """What half precision and compiling gain where the network runs many times."""
    name = "resnet50"
    model, layer = network(name, session), layer_of(name)
    inputs = photographs()[:1].to(session.device)
    rows = [f"| Score-CAM on {name} | seconds | first call | Pearson |", "|---|--:|--:|--:|"]
    exact = None
    speeds = [("float32", False), ("bf16", False), ("fp16", False), ("bf16", True)]
    for precision, compiled in speeds:
        title = precision + (", compiled" if compiled else "")
        if session.left < (75 if compiled else 20):
            rows.append(f"| {title} | no time was left | | |")
            continue
        speed = seewhy.Speed(precision, compiled=compiled)

        def call(speed: Any = speed) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # inductor's own, of this device
                return seewhy.attribute(
                    model, inputs, 3, method="score-cam", layer=layer, speed=speed
                )

        try:
            first = session.clock.seconds(call)
            maps = call()
            spent = statistics.median(session.clock.seconds(call) for _ in range(3))
        except Exception as error:  # a compiler may be missing or not fit
            rows.append(f"| {title} | cannot run here: {_one_line(error)} | | |")
            continue
        exact = maps if exact is None else exact
        pearson = torch.corrcoef(torch.stack([maps.flatten(), exact.flatten()]).double())[0, 1]
        rows.append(f"| {title} | {spent:.2f} | {first:.2f} | {float(pearson):.6f} |")
    return "\n".join(
        [
            "## Half precision and compiling\n",
            "Pearson's correlation with the map in float32; the first call compiles.\n",
            *rows,
        ]
    )


def _one_line(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:200].replace("|", "/")


# --- The program ---------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1; cpu to try this script")
    parser.add_argument("--quick", action="store_true", help="small cases, printed alone")
    parser.add_argument("--minutes", type=float, default=7.5, help="when the last part begins")
    parser.add_argument("--page", type=Path, help="where to write instead of docs/")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "torch sees no CUDA device here, so nothing was measured; --device cpu --quick tries "
            "the script itself.",
            file=sys.stderr,
        )
        return 2
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif not args.quick and args.page is None:
        print("without --quick, --device cpu needs --page: the page is of a GPU.", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # the peers' own, about hooks and the like
    page = args.page or (None if args.quick else PAGE)
    began = time.monotonic()
    session = Session(Clock(device), args.quick, began + 60 * args.minutes, page)
    session.write(setting(session))
    parts: list[Callable[[Session], str]] = [marked_tests, grad_cam_table, perturbation_table]
    parts += [attention_table, methods_table] + ([] if args.quick else [speed_table])
    for part in parts:
        print(f"{part.__name__}: {session.left:.0f} s left", file=sys.stderr, flush=True)
        try:
            made = part(session)
        except Exception as error:  # the other parts are not lost with it
            traceback.print_exc()
            session.failed.append(part.__name__)
            title = (part.__doc__ or part.__name__).splitlines()[0].rstrip(".")
            made = f"## {title}\n\nThis part failed: `{_one_line(error)}`."
        session.write(made)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    session.write(f"All of it took {(time.monotonic() - began) / 60:.1f} minutes.")
    if session.failed:
        print(f"failed: {', '.join(session.failed)}", file=sys.stderr)
    return 1 if session.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
