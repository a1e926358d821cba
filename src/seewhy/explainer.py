"""Pictures in, explanations out: image → model, watched at a layer → formula → raw map."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.attribution import answer
from seewhy.errors import ImageError, MethodError, ModelError, SeewhyError, TargetError
from seewhy.explanation import Explanation, Prediction
from seewhy.images import ImageSource, PictureBytes, Preprocess, Window, preprocess_from
from seewhy.layers import LayerSpec
from seewhy.methods.method import MethodLike
from seewhy.models.load import LoadedModel, preprocess_of
from seewhy.models.many_runs import EXACT, Speed
from seewhy.models.outputs import OutputSelector
from seewhy.one_line import one_line
from seewhy.progress import notebook_bar
from seewhy.request import Request
from seewhy.targets import Similarity, predictions, probability_of
from seewhy.version import __version__


def explain(
    model: nn.Module | LoadedModel,
    image: ImageSource,
    target: Any = None,
    *,
    method: MethodLike = "grad-cam",
    layer: LayerSpec | None = None,
    fuse: str | None = None,
    output: OutputSelector | None = None,
    preprocess: Preprocess | None = None,
    rgb: tuple[int, int, int] | None = None,
    labels: Sequence[str] | None = None,
    inputs: Callable[[Tensor], Any] | None = None,
    picture: str | int | None = None,
    shared: Sequence[str | int] = (),
    speed: Speed = EXACT,
    **options: Any,
) -> Explanation:
    """Why `model` sees `target` in `image`: one picture, one target, one map.

    Args:
        model: what `load_model` gave, or any module.
        image: a file, a Pillow image, an array, or a prepared tensor.
        target, method, layer, fuse, output, speed, options: as `attribute` takes them.
        preprocess, labels: for a bare module; what a loaded model brings is the default.
        rgb: the channels to draw as red, green and blue, where the input is no photograph: the
            preprocessing's `rgb` (see `Preprocess`).
        inputs: for a model that takes more than a picture: makes all that it is called with, a
            tuple or a mapping, from the prepared pictures `(batch, channels, height, width)`.
        picture, shared: which of these the map lies on and which belong to all pictures together,
            as `attribute` takes them.

    Raises:
        ImageError, LayerError, TargetError, MethodError, ModelError: each with what to do.
        TargetError, MethodError: also where several maps are asked for: `Explainer` and
            `compare` give those.

    Example:
        >>> import seewhy
        >>> model = seewhy.load_model("demo-cat-dog")
        >>> why = seewhy.explain(model, "cat-and-dog.jpg", "cat", method="layer-cam")
        >>> why.label, round(why.probability, 2), why.map.shape
        ('cat', 0.12, (7, 7))
        >>> figure = why.save("why.png")
    """
    explainer = Explainer(
        model, method=method, layer=layer, fuse=fuse, output=output,
        preprocess=preprocess, rgb=rgb, labels=labels, inputs=inputs, picture=picture,
        shared=shared, speed=speed, **options,
    )  # fmt: skip
    return explainer(image, target)


class Explainer:
    """Explains many pictures with one model, in batches.

    Args:
        model: what `load_model` gave, or any module.
        method: one, or a list: all of them come from the same forward pass.
        batch_size: pictures that go through the model at once.
        layer, fuse, output, preprocess, rgb, labels, inputs, picture, shared, speed, options: as
            `explain` takes them.

    Example:
        >>> import seewhy
        >>> explainer = seewhy.Explainer(seewhy.load_model("demo-cat-dog"), batch_size=16)
        >>> for why in explainer.many(["cat.jpg", "dog.jpg"]):
        ...     print(why.image, why.label)
        cat.jpg cat
        dog.jpg dog
    """

    def __init__(
        self,
        model: nn.Module | LoadedModel,
        *,
        method: MethodLike | Sequence[MethodLike] = "grad-cam",
        layer: LayerSpec | None = None,
        fuse: str | None = None,
        output: OutputSelector | None = None,
        preprocess: Preprocess | None = None,
        rgb: tuple[int, int, int] | None = None,
        labels: Sequence[str] | None = None,
        inputs: Callable[[Tensor], Any] | None = None,
        picture: str | int | None = None,
        shared: Sequence[str | int] = (),
        batch_size: int = 8,
        speed: Speed = EXACT,
        **options: Any,
    ) -> None:
        if batch_size < 1:
            raise MethodError(f"batch_size must be at least 1, not {batch_size}.")
        loaded = model if isinstance(model, LoadedModel) else None
        self.model = model
        self.module: nn.Module = model.module if isinstance(model, LoadedModel) else model
        self.name = loaded.name if loaded else type(model).__name__
        self.labels = labels if labels is not None or loaded is None else loaded.labels
        own = loaded.preprocess if loaded else preprocess_of(self.module)
        preprocess = own if preprocess is None else preprocess_from(preprocess)
        self.preprocess = preprocess if rgb is None else replace(preprocess, rgb=rgb)
        self.request = Request.of(
            method, layer=layer, fuse=fuse, output=output, picture=picture, shared=shared,
            speed=speed, options=options, tested=True,
        )  # fmt: skip
        self.inputs, self.batch_size = inputs, batch_size

    def __repr__(self) -> str:
        methods = ", ".join(method.name for method in self.request.methods)
        return one_line(f"<Explainer of {self.name}: {methods}>")

    def __call__(self, image: ImageSource, target: Any = None) -> Explanation:
        """The one explanation of one picture."""
        found = list(self.many([image], target))
        if len(found) != 1:
            raise TargetError(
                f"this asks for {len(found)} maps of one picture, but explain() makes one. "
                "Give one target, method and layer (fuse= combines several layers into one "
                "map), or use Explainer.many() or compare()."
            )
        return found[0]

    def many(
        self,
        images: Iterable[ImageSource],
        target: Any = None,
        *,
        on_error: Callable[[ImageSource, SeewhyError], None] | None = None,
    ) -> Iterator[Explanation]:
        """Explanations of picture after picture; of each: by method, by layer, by target.

        Args:
            images: read as they are needed; may be a generator over a large folder.
            target: for all pictures, or a list with one for each.
            on_error: called with a picture that cannot be explained and the reason; the others
                go on. Without it the error is raised.
        """
        for _, explanation in self.each(images, target, on_error=on_error):
            yield explanation

    def each(
        self,
        images: Iterable[ImageSource],
        target: Any = None,
        *,
        on_error: Callable[[ImageSource, SeewhyError], None] | None = None,
    ) -> Iterator[tuple[Prepared, Explanation]]:
        """As `many`, each explanation with the picture that it is of, as that was prepared."""
        each: Iterator[tuple[ImageSource, Any]]
        listed = isinstance(target, list)
        if listed:
            images = list(images)
            if len(images) != len(target):
                raise TargetError(
                    f"{len(target)} targets were given for {len(images)} pictures. A list has "
                    "one target per picture; a tuple has several targets for every picture."
                )
            each = zip(images, target, strict=True)
        else:
            each = ((image, target) for image in images)
        count = len(images) if isinstance(images, Sized) else None
        with notebook_bar("explaining", count) as advance:
            for batch in self._batches(each, on_error):
                yield from self._explained(batch, listed, on_error)
                advance(len(batch))

    def _explained(
        self,
        batch: list[Prepared],
        listed: bool,
        on_error: Callable[[ImageSource, SeewhyError], None] | None,
    ) -> Iterator[tuple[Prepared, Explanation]]:
        try:
            yield from self._explain(batch, listed)
        except (SeewhyError, RuntimeError) as error:
            if on_error is None:
                raise
            if len(batch) > 1:  # which of them was it?
                for one in batch:
                    yield from self._explained([one], listed, on_error)
                return
            if not isinstance(error, SeewhyError):
                size = tuple(batch[0].tensor.shape)
                error = ModelError(f"the network itself failed on an input of {size}: {error}")
            on_error(batch[0].source, error)

    def _batches(
        self,
        each: Iterator[tuple[ImageSource, Any]],
        on_error: Callable[[ImageSource, SeewhyError], None] | None,
    ) -> Iterator[list[Prepared]]:
        batch: list[Prepared] = []
        for source, target in each:
            try:
                one = self.prepare(source, target)
            except SeewhyError as error:
                if on_error is None:
                    raise
                on_error(source, error)
                continue
            if batch and one.tensor.shape != batch[0].tensor.shape:
                yield batch
                batch = []
            batch.append(one)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def prepare(self, source: ImageSource, target: Any = None) -> Prepared:
        """The picture as it came and as the model will see it."""
        if not isinstance(source, Tensor):
            found = self.preprocess.picture_from(
                os.fspath(source) if isinstance(source, os.PathLike) else source
            )
            read = found.pixels
            height, width = read.shape[:2]
            window = self.preprocess.window((height, width))
            tensor, picture = self.preprocess(read), self.preprocess.view(read)
            name = _file_name(source)
            return Prepared(source, name, picture, window, tensor, target, found.notes)
        tensor = source[0] if source.ndim == 4 and len(source) == 1 else source
        if tensor.ndim != 3:
            raise ImageError(
                "an image tensor must be one prepared image (channels, height, width), not "
                f"{tuple(source.shape)}. Use attribute() for batches, signals and volumes."
            )
        picture = self.preprocess.picture(tensor)
        height, width = picture.shape[:2]
        return Prepared(source, None, picture, Window(0, 0, width, height), tensor.detach(), target)

    def _explain(
        self, batch: list[Prepared], listed: bool
    ) -> Iterator[tuple[Prepared, Explanation]]:
        started = time.perf_counter()
        pictures = torch.stack([one.tensor for one in batch])
        made = answer(
            self.module,
            pictures if self.inputs is None else self.inputs(pictures),
            [one.target for one in batch] if listed else batch[0].target,
            self.request,
            labels=self.labels,
        )
        maps = [[one.float().cpu().numpy() for one in by_layer] for by_layer in made.maps]
        seconds = (time.perf_counter() - started) / len(batch)
        named = [
            named_predictions(row, self.labels)
            for row in predictions(made.logits, labels=self.labels, ending=made.targets.ending)
        ]
        for i, one in enumerate(batch):
            for m, method in enumerate(self.request.methods):
                for layer, layer_name in enumerate(made.layers[m]):
                    for t, target in enumerate(made.targets.targets[i]):
                        explanation = Explanation(
                            map=maps[m][layer][i, t],
                            picture=one.picture,
                            window=one.window,
                            target=target,
                            label=target.describe(self.labels),
                            score=float(made.scores[i, t]),
                            probability=probability_of(target, made.logits[i]),
                            predictions=() if isinstance(target, Similarity) else named[i],
                            method=method.name,
                            layer=layer_name,
                            model=self.name,
                            image=one.name,
                            preprocess=self.preprocess,
                            versions={"seewhy": __version__, "torch": torch.__version__},
                            seconds=seconds,
                            warnings=made.warnings[m][layer][i][t] + self._assumed(one),
                        )
                        yield one, explanation

    def _assumed(self, one: Prepared) -> tuple[str, ...]:
        """A warning, where what was done to a picture, or how it is drawn, is a guess."""
        notes = tuple(f"as to the picture, {note}" for note in one.notes)
        drawn_as_it_is = isinstance(one.source, Tensor) and self.preprocess.rgb is not None
        if "assumed" not in self.preprocess.source or drawn_as_it_is:
            return notes
        words = f"{self.preprocess.source}; {self.preprocess.describe()}"
        return (f"the preprocessing is {words}", *notes)


def _file_name(source: ImageSource) -> str | None:
    if isinstance(source, PictureBytes):
        return source.name.rpartition("/")[2]
    return Path(source).name if isinstance(source, (str, os.PathLike)) else None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as it came, and as the model will see it."""

    source: ImageSource
    name: str | None
    picture: np.ndarray
    window: Window
    tensor: Tensor
    target: Any
    notes: tuple[str, ...] = ()


def named_predictions(
    row: Sequence[tuple[int, float, float | None]], labels: Sequence[str] | None
) -> tuple[Prediction, ...]:
    """What `predictions` gave for an image, with labels."""
    known = labels or ()
    return tuple(
        Prediction(index, known[index] if index < len(known) else f"class {index}", score, p)
        for index, score, p in row
    )
