"""`seewhy label`: a folder of pictures in, a data set with pseudo-labels out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seewhy.cli import options, parsing
from seewhy.cli.completion import complete_methods
from seewhy.cli.explain import explained
from seewhy.cli.help import RESULTS
from seewhy.cli.loading import ModelOptions
from seewhy.cli.pictures import find_pictures
from seewhy.cli.terminal import progress, say, say_error, say_note, say_warnings, show_table
from seewhy.dataset.formats import FORMATS, WRITTEN
from seewhy.errors import DataError, ImageError, LayerError, MethodError

if TYPE_CHECKING:
    from seewhy.dataset.labelled import FoundObject, LabelledPicture
    from seewhy.explainer import Explainer
    from seewhy.explanation import Explanation
    from seewhy.models.load import LoadedModel
    from seewhy.render.sheet import Sample


_LOW = 0.1
_DOUBTED = (
    f"the model's probability for this class is below {_LOW}, so the object may belong to another. "
    "Use --min-probability to leave such objects out."
)


def complete_formats(incomplete: str) -> list[str]:
    """The formats whose names begin with what was typed."""
    return [name for name in WRITTEN if name.startswith(incomplete)]


def label(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A folder of pictures, searched recursively.", show_default=False
        ),
    ],
    model: options.Model = "demo",
    target: options.Targets = None,
    class_from_folder: Annotated[
        bool,
        typer.Option(
            "--class-from-folder",
            metavar="",
            help="Explain the class that the folder of each picture names.",
        ),
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-M",
            metavar="NAME",
            help="Choose the method. See: seewhy methods.",
            autocompletion=complete_methods,
        ),
    ] = "grad-cam",
    settings: options.MethodOptions = None,
    layer: options.Layer = None,
    output: options.Output = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            metavar="SHARE",
            help="Count pixels above this share of the map's maximum as object. The Grad-CAM "
            "paper uses 0.15, the CAM paper 0.2.",
        ),
    ] = 0.15,
    all_components: Annotated[
        bool,
        typer.Option(
            "--all-components",
            metavar="",
            help="Make one object per connected region, not of the largest region only.",
        ),
    ] = False,
    min_probability: Annotated[
        float | None,
        typer.Option(
            "--min-probability",
            metavar="P",
            help="Leave out an object if the probability of its class is below P (0 to 1).",
            show_default="keep all objects",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Write the data set into this folder, which must be new or empty.",
            rich_help_panel=RESULTS,
        ),
    ] = Path("seewhy-labels"),
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="KIND",
            help="Write the data set in this format. "
            + " ".join(f"{name}: {FORMATS[name]}." for name in WRITTEN),
            rich_help_panel=RESULTS,
            autocompletion=complete_formats,
        ),
    ] = "coco",
    preview: Annotated[
        int,
        typer.Option(
            "--preview",
            min=0,
            metavar="N",
            help="Draw N pictures on the preview sheet, or 0 for no sheet.",
            rich_help_panel=RESULTS,
        ),
    ] = 24,
    loading: ModelOptions = ModelOptions(),
    batch_size: options.BatchSize = 8,
) -> None:
    """Create a training data set with boxes or masks from the maps (pseudo-labels).

    The exit status is 0 if every picture was labelled, 1 if some failed, 2 if the command is wrong.

    Example: seewhy label photos/ --class-from-folder --format yolo --out pseudo/
    """
    methods = parsing.known_methods([method])
    if len(methods) > 1:
        raise MethodError(f"label uses one method, but {len(methods)} were given. Name one.")
    method_options = parsing.method_options(settings, methods)
    if format_ not in WRITTEN:
        raise DataError(f"--format '{format_}' is not known. Choose from {', '.join(WRITTEN)}.")
    _check(threshold, min_probability, class_from_folder and bool(target), folder)
    from seewhy.dataset.writing import check_out

    check_out(out)
    given = find_pictures([str(folder)], leave_out=out)
    pictures, misses = given.pictures, given.misses
    for left_out in given.left_out:
        say_note(left_out)
    for miss in misses:
        say_error(miss)
    if not pictures:
        raise typer.Exit(1)

    loaded = loading.load(model)
    _check_layer(loaded, layer)

    from seewhy.explainer import Explainer
    from seewhy.targets import parse_target
    from seewhy.version import __version__

    targets: Any = parsing.several(target)
    if class_from_folder:
        # Not resolved: the class of a link is that of the folder it lies in.
        places = [Path(os.path.abspath(picture)).parent for picture in pictures]  # noqa: PTH100
        targets = [f"class:{place.name}" for place in places]
    for one in dict.fromkeys(targets) if class_from_folder else [targets]:
        parse_target(one, loaded.labels)  # what is not there is not there for any picture
    explainer = Explainer(
        loaded, method=methods, layer=layer, output=output, batch_size=batch_size, **method_options
    )
    run = _Run(
        folder, threshold, all_components, min_probability, format_, spread(pictures, preview)
    )
    run.label(explainer, pictures, targets)
    if not run.found:
        say_error(f"none of {len(pictures)} pictures could be labelled. Nothing was written.")
        raise typer.Exit(1)

    protocol = {
        "seewhy": __version__,
        "model": explainer.name,
        "method": methods[0],
        "options": method_options,
        "layer": run.layer,
        "target": "the picture's folder" if class_from_folder else target or "predicted",
        "min_probability": min_probability,
        "threshold": threshold,
        "threshold_of": "the maximum of the map on the picture",
        "components": "all" if all_components else "the largest",
        "connectivity": 8,
        "pictures": len(run.found),
        "failed": sorted(run.failed),
    }
    run.write(out, protocol)
    _show(run.found, out, format_)
    if run.left_out:
        say(
            f"{run.left_out} objects are left out: the probability of their class is below "
            f"{min_probability:g}."
        )
    say_warnings(run.warned)
    if run.failed:
        say_error(f"{len(run.failed)} of {len(pictures)} pictures could not be labelled.")
        raise typer.Exit(1)


@dataclass
class _Run:
    """The pictures of a folder, labelled one after the other.

    Attributes:
        folder: it, which the pictures' names are relative to.
        threshold, all_components: as `seewhy.labels.find_objects` takes them.
        min_probability: the least of a class whose objects are kept; None keeps all.
        format_: of the data set.
        shown: the pictures on the preview sheet.
        found: what was found in each picture that could be explained.
        failed: the reason for each that could not.
        warned: for each picture and class what its explanation warns of.
        layer: the one that the maps are made at.
        left_out: how many objects have a smaller probability.
    """

    folder: Path
    threshold: float
    all_components: bool
    min_probability: float | None
    format_: str
    shown: frozenset[str]
    found: list[LabelledPicture] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warned: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    layer: str = ""
    left_out: int = 0
    _samples: list[Sample] = field(default_factory=list)

    def label(self, explainer: Explainer, pictures: Sequence[str], targets: Any) -> None:
        """Explain each picture and find the objects in its maps."""
        with progress("labelling", len(pictures)) as advance:
            stream = explained(explainer, pictures, targets, self._fail, advance)
            for picture, group in groupby(stream, key=lambda pair: pair[0]):
                self._add(picture, [explanation for _, explanation in group])

    def write(self, out: Path, protocol: dict[str, Any]) -> None:
        """Write the data set, whole or not at all."""
        from seewhy.dataset.writing import whole_or_not_at_all, write_labels

        preview = _sheet(self._samples, protocol)
        try:
            with whole_or_not_at_all(out) as aside:
                write_labels(
                    aside, self.found, self.format_, protocol,
                    photos=self.folder, out=out, preview=preview,
                )  # fmt: skip
        except OSError as error:
            say_error(f"'{out}' cannot be written ({error.strerror or error})")
            raise typer.Exit(1) from None

    def _fail(self, picture: str, reason: str) -> None:
        self.failed[picture] = reason
        say_error(reason if picture in reason else f"{picture}: {reason}")

    def _add(self, picture: str, explanations: Sequence[Explanation]) -> None:
        self.layer = explanations[0].layer
        objects = tuple(one for each in explanations for one in self._objects(each))
        labelled = _labelled(picture, self.folder, explanations[0], objects)
        self.found.append(labelled)
        if picture in self.shown:
            with_boxes = self.format_ != "masks"
            self._samples.append(_sample(labelled, explanations[0], with_boxes=with_boxes))
        for each in explanations:
            warnings = list(each.warnings)
            if self.min_probability is None and _doubted(each.probability):
                warnings.append(_DOUBTED)
            self.warned.append((f"{labelled.name}, {each.label}", warnings))

    def _objects(self, explanation: Explanation) -> tuple[FoundObject, ...]:
        """The objects of a map, if its class is as probable as is asked for."""
        from seewhy.labels import find_objects

        probability = explanation.probability
        if self.min_probability is not None and probability is None:
            raise MethodError(
                f"--min-probability needs a probability, and '{explanation.label}' has none. "
                "Remove the option, or choose a class as the target."
            )
        objects = find_objects(
            explanation.heatmap, explanation.label, probability,
            threshold=self.threshold, all_components=self.all_components,
        )  # fmt: skip
        if self.min_probability is None or (probability or 0.0) >= self.min_probability:
            return objects
        self.left_out += len(objects)
        return ()


def _doubted(probability: float | None) -> bool:
    return probability is not None and probability < _LOW


def _check(
    threshold: float, min_probability: float | None, two_classes: bool, folder: Path
) -> None:
    """What can be seen to be wrong before anything is loaded."""
    if not 0 <= threshold < 1:
        raise MethodError(
            f"--threshold must be at least 0 and below 1, such as 0.15, not {threshold}."
        )
    if min_probability is not None and not 0 <= min_probability <= 1:
        raise MethodError(f"--min-probability must be from 0 to 1, not {min_probability}.")
    if two_classes:
        raise MethodError("--class-from-folder and --target cannot be combined. Remove one.")
    if not folder.is_dir():
        raise ImageError(f"folder '{folder}' not found. Give a folder of pictures.")


def _check_layer(loaded: LoadedModel, layer: str | None) -> None:
    from seewhy.layers import find_layers

    if layer is not None and len(found := find_layers(loaded.module, [layer])) > 1:
        raise LayerError(
            f"label uses one layer, but --layer '{layer}' names {len(found)}. Name one."
        )


def spread(pictures: Sequence[str], count: int) -> frozenset[str]:
    """At most `count` of the pictures, evenly from first to last."""
    count = min(count, len(pictures))
    return frozenset(pictures[place * len(pictures) // count] for place in range(count))


def _labelled(
    picture: str, folder: Path, explanation: Explanation, objects: Any
) -> LabelledPicture:
    from seewhy.dataset.labelled import LabelledPicture
    from seewhy.dataset.writing import relative_name

    height, width = explanation.picture.shape[:2]
    return LabelledPicture(Path(picture), relative_name(picture, folder), (height, width), objects)


def _sample(labelled: LabelledPicture, explanation: Explanation, *, with_boxes: bool) -> Sample:
    import numpy as np

    from seewhy.dataset.labelled import one_line
    from seewhy.dataset.records import printable
    from seewhy.render.sheet import sample

    inside = np.zeros(labelled.size, bool)
    for one in labelled.objects:
        inside |= one.mask(labelled.size)
    boxes = [one.box.as_tuple() for one in labelled.objects] if with_boxes else []
    classes = {one.label: one.probability for one in labelled.objects}
    named = ", ".join(f"{label}{_in_words(p)}" for label, p in classes.items())
    caption = printable(f"{labelled.name}: {named or 'nothing found'}")
    return sample(explanation.picture, inside, boxes, one_line(caption))


def _in_words(probability: float | None) -> str:
    """A class's probability behind its name."""
    return "" if probability is None else f" {probability:.2g}"


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


def _show(found: Sequence[LabelledPicture], out: Path, format_: str) -> None:
    from seewhy.dataset.labelled import LabelledFolder
    from seewhy.dataset.links import is_turned

    rows = []
    for name in LabelledFolder(tuple(found)).classes:
        objects = [[one for one in picture.objects if one.label == name] for picture in found]
        rows.append((name, sum(map(bool, objects)), sum(map(len, objects))))
    show_table(["class", "pictures", "objects"], rows, right=("pictures", "objects"))
    say(f"\n{out}\n")
    empty = sum(not one.objects for one in found)
    if empty:
        say(f"{empty} of {len(found)} pictures have no object: their maps have no positive values.")
    turned = sum(is_turned(one.path) for one in found)
    if turned and format_ in ("coco", "masks"):
        say(
            f"{turned} pictures have an EXIF rotation. The labels are for the upright pictures: "
            "apply PIL.ImageOps.exif_transpose when you load them."
        )
