"""`seewhy label`: a folder of pictures in, a data set with pseudo-labels out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seewhy.cli import options
from seewhy.cli.explain import explained
from seewhy.cli.loading import load
from seewhy.cli.pictures import find_pictures
from seewhy.cli.terminal import progress, say, say_error, say_note, say_warnings, show_table
from seewhy.errors import ImageError, LayerError, MethodError
from seewhy.files import written_aside

if TYPE_CHECKING:
    from seewhy.explanation import Explanation
    from seewhy.labels import LabelledPicture
    from seewhy.render.sheet import Sample


class Format(str, Enum):
    """What reads the labels."""

    COCO = "coco"
    VOC = "voc"
    YOLO = "yolo"
    MASKS = "masks"


def label(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Its pictures, with all below it.", show_default=False
        ),
    ],
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            "-f",
            metavar="KIND",
            help="coco: JSON with boxes and masks. voc: XML with boxes. yolo: text with boxes. "
            "masks: PNGs whose values are classes.",
        ),
    ] = Format.COCO,
    model: options.Model = "demo",
    target: options.Targets = None,
    class_from_folder: Annotated[
        bool,
        typer.Option(
            "--class-from-folder",
            metavar="",
            help="Each picture's class is the name of the folder it lies in.",
        ),
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="See: seewhy methods.",
            autocompletion=options.complete_methods,
        ),
    ] = "grad-cam",
    layer: options.Layer = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            metavar="SHARE",
            help="Of the map's maximum; what is above it belongs to the object. 0.15 is "
            "Grad-CAM's, 0.2 CAM's.",
        ),
    ] = 0.15,
    all_components: Annotated[
        bool,
        typer.Option(
            "--all-components",
            metavar="",
            help="An object for each connected part, not for the largest alone.",
        ),
    ] = False,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Where it goes: a new or empty folder."),
    ] = Path("seewhy-labels"),
    preview: Annotated[
        int,
        typer.Option("--preview", min=0, metavar="N", help="Pictures on the preview sheet."),
    ] = 24,
    settings: options.MethodOptions = None,
    output: options.Output = None,
    batch_size: options.BatchSize = 8,
    arch: options.Architecture = None,
    num_classes: options.ClassCount = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    labels: options.Labels = None,
    trust_pickle: options.TrustPickle = False,
    device: options.Device = "cpu",
) -> None:
    """Turn maps into boxes and masks to train on, as a data set that training code reads.

    The exit status is 0 if all were labelled, 1 if some failed, 2 if the command is wrong.

    Example: seewhy label photos/ --class-from-folder --format yolo --out pseudo/
    """
    methods = options.known_methods([method])
    if len(methods) > 1:
        raise MethodError(f"{len(methods)} methods were given; labels are made by one.")
    method_options = options.method_options(settings, methods)
    if not 0 <= threshold < 1:
        raise MethodError(
            f"--threshold {threshold} was given; a share from 0 to below 1 is wanted, such as 0.15."
        )
    if class_from_folder and target:
        raise MethodError("--class-from-folder and --target were given; choose one of them.")
    if not folder.is_dir():
        raise ImageError(f"there is no folder '{folder}'; a folder of pictures is wanted.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ImageError(
            f"--out '{out}' is there already and not an empty folder; labels of two runs are not "
            "mixed: take another or delete it."
        )
    given = find_pictures([str(folder)], leave_out=out)
    pictures, misses = given.pictures, given.misses
    for left_out in given.left_out:
        say_note(left_out)
    for miss in misses:
        say_error(miss)
    if not pictures:
        raise typer.Exit(1)

    loaded = load(
        model, arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, labels=labels,
        trust_pickle=trust_pickle, device=device,
    )  # fmt: skip

    from seewhy.explainer import Explainer
    from seewhy.labels import find_objects, write_labels
    from seewhy.layers import find_layers
    from seewhy.targets import parse_target
    from seewhy.version import __version__

    if layer is not None and len(found_layers := find_layers(loaded.module, [layer])) > 1:
        raise LayerError(
            f"--layer '{layer}' names {len(found_layers)} layers; labels are made from one."
        )
    targets: Any = options.several(target)
    if class_from_folder:
        targets = [f"class:{Path(picture).resolve().parent.name}" for picture in pictures]
    for one in dict.fromkeys(targets) if class_from_folder else [targets]:
        parse_target(one, loaded.labels)  # what is not there is not there for any picture
    explainer = Explainer(
        loaded, method=methods, layer=layer, output=output, batch_size=batch_size, **method_options
    )
    failed: dict[str, str] = {}

    def fail(picture: str, reason: str) -> None:
        failed[picture] = reason
        say_error(reason if picture in reason else f"{picture}: {reason}")

    shown = spread(pictures, preview)
    found: list[LabelledPicture] = []
    samples: list[Sample] = []
    warned: list[tuple[str, Sequence[str]]] = []
    layer_name = ""
    with progress("labelling", len(pictures)) as advance:
        stream = explained(explainer, pictures, targets, fail, advance)
        for picture, group in groupby(stream, key=lambda pair: pair[0]):
            explanations = [explanation for _, explanation in group]
            layer_name = explanations[0].layer
            objects = tuple(
                one
                for explanation in explanations
                for one in find_objects(
                    explanation.heatmap, explanation.label, explanation.probability,
                    threshold=threshold, all_components=all_components,
                )
            )  # fmt: skip
            labelled = _labelled(picture, folder, explanations[0], objects)
            found.append(labelled)
            if picture in shown:
                samples.append(
                    _sample(labelled, explanations[0], with_boxes=format_ is not Format.MASKS)
                )
            warned += [
                (f"{labelled.name}, {explanation.label}", explanation.warnings)
                for explanation in explanations
            ]
    if not found:
        say_error(f"none of {len(pictures)} pictures could be labelled; nothing was written")
        raise typer.Exit(1)

    protocol = {
        "seewhy": __version__,
        "model": explainer.name,
        "method": methods[0],
        "options": method_options,
        "layer": layer_name,
        "target": "the picture's folder" if class_from_folder else target or "predicted",
        "threshold": threshold,
        "threshold_of": "the maximum of the map on the picture",
        "components": "all" if all_components else "the largest",
        "connectivity": 8,
        "pictures": len(found),
        "failed": sorted(failed),
    }
    sheet = _sheet(samples, protocol)
    try:
        if out.exists():
            out.rmdir()
        with written_aside(out) as aside:
            aside.mkdir()
            write_labels(aside, found, format_.value, protocol, preview=sheet)
    except OSError as error:
        say_error(f"'{out}' cannot be written ({error.strerror or error})")
        raise typer.Exit(1) from None
    _show(found, out, format_)
    say_warnings(warned)
    if failed:
        say_error(f"{len(failed)} of {len(pictures)} pictures could not be labelled")
        raise typer.Exit(1)


def spread(pictures: Sequence[str], count: int) -> frozenset[str]:
    """At most `count` of the pictures, evenly from first to last."""
    count = min(count, len(pictures))
    return frozenset(pictures[place * len(pictures) // count] for place in range(count))


def _labelled(
    picture: str, folder: Path, explanation: Explanation, objects: Any
) -> LabelledPicture:
    from seewhy.labels import LabelledPicture, relative_name

    height, width = explanation.picture.shape[:2]
    return LabelledPicture(Path(picture), relative_name(picture, folder), (height, width), objects)


def _sample(labelled: LabelledPicture, explanation: Explanation, *, with_boxes: bool) -> Sample:
    import numpy as np

    from seewhy.labels import mask_of
    from seewhy.render.sheet import sample

    inside = np.zeros(labelled.size, bool)
    for one in labelled.objects:
        inside |= mask_of(one.runs, labelled.size)
    boxes = [one.box.as_tuple() for one in labelled.objects] if with_boxes else []
    names = ", ".join(dict.fromkeys(one.label for one in labelled.objects))
    return sample(
        explanation.picture, inside, boxes, f"{labelled.name}: {names or 'nothing found'}"
    )


def _sheet(samples: Sequence[Sample], protocol: dict[str, Any]) -> Any:
    """The preview as an image; None if there is nothing to show."""
    if not samples:
        return None
    import numpy as np
    from PIL import Image

    from seewhy.render.sheet import sheet
    from seewhy.render.text import sentence

    figure = sheet(
        samples,
        sentence(
            [
                *(f"{name} {protocol[name]}" for name in ("model", "method", "layer", "threshold")),
                f"{len(samples)} of {protocol['pictures']} pictures",
            ]
        ),
    )
    canvas: Any = figure.canvas
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _show(found: Sequence[LabelledPicture], out: Path, format_: Format) -> None:
    from seewhy.labels import classes_of, is_turned

    rows = []
    for name in classes_of(found):
        objects = [[one for one in picture.objects if one.label == name] for picture in found]
        rows.append((name, sum(map(bool, objects)), sum(map(len, objects))))
    show_table(["class", "pictures", "objects"], rows, right=("pictures", "objects"))
    say(f"\n{out}\n")
    empty = sum(not one.objects for one in found)
    if empty:
        say(f"{empty} of {len(found)} pictures have no object: nothing in them speaks for a class")
    turned = sum(is_turned(one.path) for one in found)
    if turned and format_ in (Format.COCO, Format.MASKS):
        say(
            f"{turned} pictures are stored turned (EXIF orientation); the labels hold for the "
            "upright pictures: turn them when you read them (PIL.ImageOps.exif_transpose)"
        )
