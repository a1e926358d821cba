"""Values as `seewhy evaluate` writes them: a run of two methods that looks like a real one."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

METHODS = ("grad-cam", "layer-cam")
# Mean of each metric: over all images, where the centre misses, of small objects.
MEANS: dict[str, dict[str, tuple[float, ...]]] = {
    "deletion": {"grad-cam": (0.1843, 0.2031, 0.1422), "layer-cam": (0.1612, 0.1984, 0.1397)},
    "road": {"grad-cam": (0.2714,), "layer-cam": (0.2655,), "random map": (-0.0041,)},
    "pointing-game": {
        "grad-cam": (0.8925, 0.412, 0.7311),
        "layer-cam": (0.9031, 0.3957, 0.7588),
        "centre point": (0.9012, 0.0, 0.6812),
    },
    "infidelity": {"grad-cam": (3.21e-05,), "layer-cam": (2.874e-05,)},
}
METRICS: list[dict[str, Any]] = [
    {
        "name": "deletion",
        "title": "Deletion",
        "better": "lower",
        "says": "The area under the class's probability while its most important pixels go.",
        "source": "Petsiuk 2018",
        "protocol": {"steps": 28, "baseline": "black", "score": "probability", "rule": "trapezoid"},
    },
    {
        "name": "road",
        "title": "ROAD, combined",
        "better": "higher",
        "says": "How much more the least important pixels may go than the most important ones.",
        "source": "Rong 2022",
        "protocol": {"percentiles": [20, 40, 60, 80], "noise": 0.01, "score": "logit"},
    },
    {
        "name": "pointing-game",
        "title": "Pointing game",
        "better": "higher",
        "says": "Whether the largest value lies on the object.",
        "source": "Zhang 2016",
        "protocol": {"tolerance": 15.5, "weights": None, "per class": True, "empty": {}},
    },
    {
        "name": "infidelity",
        "title": "Infidelity",
        "better": None,
        "says": "The squared error of the map's prediction of what a change does.",
        "source": "Yeh 2019",
        "protocol": {"draws": 100, "boxes": {"largest": 56, "smallest": 7}},
    },
]
SUBSETS = ("all", "centre misses", "small object")


def picture(seed: int, size: tuple[int, int] = (160, 120)) -> str:
    """A small drawn picture with a warm spot, as a data URI."""
    random = np.random.default_rng(seed)
    columns, rows = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    x, y = random.uniform(0.25, 0.75, 2)
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 0.04)[..., None]
    ground = np.stack([0.35 + 0.3 * rows, 0.45 + 0.2 * columns, 0.4 + 0.2 * rows], -1)
    pixels = ground * (1 - 0.8 * spot) + np.array([0.9, 0.35, 0.2]) * 0.8 * spot
    stream = io.BytesIO()
    Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(stream, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def decisions() -> dict[str, Any]:
    """187 of 190 images are right."""
    pairs = [("tabby", "tabby", 187), ("tabby", "lynx", 2), ("golden retriever", "beagle", 1)]
    wrong = [
        {"record": f"val/wrong_{place:05d}.jpg", "labels": [label], "label": label,
         "true": 281 + place, "true_name": label, "true_probability": 0.1 * place,
         "predicted": 7, "predicted_name": predicted, "probability": 0.9 - 0.1 * place,
         "used": False, "pictures": {} if place == 2 else
         {"predicted": picture(30 + place), "true": picture(40 + place)}}
        for place, (label, predicted) in enumerate(
            [("tabby", "lynx"), ("golden retriever", "beagle"), ("tabby", "lynx")]
        )
    ]  # fmt: skip
    return {
        "accuracy": 187 / 190, "count": 190, "right": 187, "low": 0.9546, "high": 0.9967,
        "confusion": [
            {"label": label, "label_name": label, "predicted": predicted, "count": count,
             "right": label == predicted}
            for label, predicted, count in pairs
        ],
        "wrong": wrong, "method": "grad-cam",
    }  # fmt: skip


def sample() -> dict[str, Any]:
    """A new copy of the values, to be changed as a test needs."""
    results, differences = [], []
    counts = (187, 41, 63)
    for metric, means in MEANS.items():
        for method, values in means.items():
            for subset, n, mean in zip(SUBSETS, counts, values, strict=False):
                wide = 0.6 * abs(mean) / n**0.5 + (1e-6 if metric == "infidelity" else 0.002)
                undefined = 2 if (metric, method) == ("road", "grad-cam") else 0
                results.append(
                    {"method": method, "metric": metric, "subset": subset, "n": n - undefined,
                     "undefined": undefined, "mean": mean, "low": mean - wide, "high": mean + wide,
                     "interval": "Clopper-Pearson" if metric == "pointing-game" else "Student's t"}
                )  # fmt: skip
                if method == "grad-cam":
                    continue
                gap = mean - means["grad-cam"][SUBSETS.index(subset)]
                half = 0.6 * abs(gap) if metric == "deletion" and subset == "all" else wide
                clear = abs(gap) > half
                differences.append(
                    {"method": method, "to": "grad-cam", "metric": metric, "subset": subset,
                     "n": n, "mean": gap, "low": gap - half, "high": gap + half,
                     "interval": "Student's t", "p": 0.001 if clear else 0.3}
                )  # fmt: skip
    steps = [step / 28 for step in range(29)]
    curves = []
    for method, speed in (("grad-cam", 6.5), ("layer-cam", 7.9), ("random map", 2.1)):
        mean = [0.04 + 0.84 * float(np.exp(-speed * x)) for x in steps]
        curves.append(
            {"metric": "deletion", "method": method, "x": steps, "mean": mean,
             "low": [one * 0.88 for one in mean], "high": [one * 1.1 for one in mean],
             "x_title": "share of pixels deleted", "y_title": "probability"}
        )  # fmt: skip
        away = [20, 40, 60, 80]
        mean = [0.9 - speed / 100 * share / 10 for share in away]
        curves.append(
            {"metric": "road", "method": method, "x": away, "mean": mean,
             "low": [one - 0.03 for one in mean], "high": [one + 0.025 for one in mean],
             "x_title": "% of pixels imputed", "y_title": "accuracy"}
        )  # fmt: skip
    images = [
        {"method": method, "metric": metric, "kind": kind, "record": f"val/{kind}_{place:05d}.jpg",
         "label": ("tabby", "Siamese cat", "golden retriever")[place],
         "value": 0.0123 + 0.11 * place + (0.5 if kind == "worst" else 0.0) + 0.01 * which,
         "picture": picture(place + 10 * (kind == "worst") + 20 * which),
         **({} if which else {"plain": picture(place + 50)})}
        for metric in ("deletion", "road")
        for kind in ("worst", "best")
        for place in range(3)
        for which, method in enumerate(METHODS)
    ]  # fmt: skip
    return {
        "format": "seewhy evaluation 1",
        "protocol": {
            "model": "demo",
            "data": "ilsvrc_val",
            "kind": "folder",
            "images": 187,
            "target": "label",
            "only_correct": True,
            "layer": "blocks.6",
            "preprocess": {"resize": 232, "crop": 224, "mean": [0.485, 0.456, 0.406]},
            "map": "raw map resized bilinearly to the model's input",
            "versions": {"seewhy": "0.4.0", "torch": "2.6.0"},
            "seed": 0,
            "intervals": {"level": 0.95, "over": "pictures"},
        },
        "counts": {"records": 250, "used": 187, "misclassified": 61, "unreadable": 2},
        "decisions": decisions(),
        "problems": [
            {"record": "val/broken.jpg", "reason": "the file ends early"},
            {"record": "val/<b>&\"'.jpg", "reason": "no class is called '<script>x()</script>'"},
        ],
        "methods": [
            {"name": "grad-cam", "layer": "blocks.6", "options": {}, "seconds": 0.0213,
             "baseline": False},
            {"name": "layer-cam", "layer": "blocks.6", "options": {"relu": True, "power": 1.5},
             "seconds": 0.0247, "baseline": False},
            {"name": "centre point", "layer": None, "options": {}, "seconds": 0.0,
             "baseline": True},
            {"name": "random map", "layer": None, "options": {"seed": 7}, "seconds": None,
             "baseline": True},
        ],
        "metrics": [dict(metric) for metric in METRICS],
        "results": results,
        "differences": differences,
        "curves": curves,
        "images": images,
    }  # fmt: skip
