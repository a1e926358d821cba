"""Networks trained in seconds on drawn shapes, where it is known what a map should show.

Each picture has a disc and a square, one in the left half and one in the right, of colours that
say nothing about which is which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    normalize,
)

SIZE = 48
DISC, SQUARE = 1, 2  # the classes; 0 is the background
NAMES = ("background", "disc", "square")


@dataclass(frozen=True)
class Drawn:
    """Pictures with what is in them.

    Attributes:
        pictures: (count, 3, SIZE, SIZE).
        masks: (count, 3, SIZE, SIZE) bool, of each class.
        boxes: (count, 2, 4) x1, y1, x2, y2 of the disc and of the square.
    """

    pictures: Tensor
    masks: Tensor
    boxes: Tensor


def draw(count: int, seed: int, *, which: tuple[int, ...] = (DISC, SQUARE)) -> Drawn:
    generator = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    pictures = 0.3 * torch.rand(count, 3, SIZE, SIZE, generator=generator)
    masks = torch.zeros(count, 3, SIZE, SIZE, dtype=torch.bool)
    boxes = torch.zeros(count, 2, 4)
    for i in range(count):
        left = whole(0, 2)
        for shape in which:
            r = whole(5, 9)
            column = whole(r + 1, SIZE // 2 - r) + (shape - 1 + left) % 2 * SIZE // 2
            row = whole(r + 1, SIZE - r)
            inside = torch.maximum((x - column).abs(), (y - row).abs()) < r
            if shape == DISC:
                inside = (x - column) ** 2 + (y - row) ** 2 < r * r
            pictures[i][:, inside] = 0.5 + 0.5 * torch.rand(3, 1, generator=generator)
            masks[i, shape] = inside
            boxes[i, shape - 1] = torch.tensor([column - r, row - r, column + r, row + r])
        masks[i, 0] = ~masks[i].any(0)
    return Drawn(pictures, masks, boxes)


def share_on(map_: Tensor, drawn: Drawn, image: int, shape: int) -> float:
    """Of what a map shows on the two shapes' boxes, the part on this one's."""
    inside = [float(part.relu().sum()) for part in _on_boxes(map_, drawn, image)]
    return inside[shape - 1] / sum(inside)


def prefers(map_: Tensor, drawn: Drawn, image: int, shape: int) -> bool:
    """Whether a map is higher on this shape's box than on the other's, whatever its zero is."""
    means = [float(part.mean()) for part in _on_boxes(map_, drawn, image)]
    return means[shape - 1] > means[2 - shape]


def _on_boxes(map_: Tensor, drawn: Drawn, image: int) -> list[Tensor]:
    full = nn.functional.interpolate(map_[None, None].float(), (SIZE, SIZE), mode="bilinear")[0, 0]
    boxes = drawn.boxes[image].int().tolist()
    return [full[y1:y2, x1:x2] for x1, y1, x2, y2 in boxes]


def trained(
    model: nn.Module, loss: Callable[[int], Tensor], steps: int, rate: float = 3e-3
) -> nn.Module:
    """The model after so many steps of Adam on loss(step), in evaluation mode.

    By one thread: several add up in another order, and after a hundred steps it is another model.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        optimiser = torch.optim.Adam(model.parameters(), rate)
        for step in range(steps):
            value = loss(step)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    finally:
        torch.set_num_threads(threads)
    return model.eval()


def features(channels: int = 32) -> nn.Sequential:
    """(batch, channels, SIZE / 4, SIZE / 4), which see 31 pixels around each position."""
    sizes = (3, channels // 2, channels, channels, channels)
    layers: list[nn.Module] = []
    for step, (into, out) in enumerate(pairwise(sizes)):
        stride = 2 if step < 2 else 1
        layers += [nn.Conv2d(into, out, 3, stride, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


class Segmenter(nn.Module):
    """A score map for each class under the name that torchvision's networks have for it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = features()
        self.classifier = nn.Conv2d(32, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        scores = self.classifier(self.features(x))
        full = nn.functional.interpolate(scores, x.shape[2:], mode="bilinear")
        return {"out": full, "aux": full.detach() * 0}


def segmenter() -> nn.Module:
    torch.manual_seed(0)
    model = Segmenter()

    def loss(step: int) -> Tensor:
        drawn = draw(16, step)
        return cross_entropy(model(drawn.pictures)["out"], drawn.masks.int().argmax(1))

    return trained(model, loss, 100)


class CentreDetector(nn.Module):
    """One box a position (FCOS, CenterNet), returned as YOLO's heads do: raw, and its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = features()
        self.classes = nn.Conv2d(32, 2, 1)
        self.edges = nn.Conv2d(32, 4, 1)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (batch, 2, h, w); x1, y1, x2, y2 in pixels (batch, 4, h, w)."""
        seen = self.features(x)
        rows, columns = (torch.arange(n) * 4 + 2.0 for n in seen.shape[2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        away = 4 * self.edges(seen).exp()
        signs = torch.tensor([-1.0, -1, 1, 1])[:, None, None]
        return self.classes(seen), torch.stack((x, y, x, y)) + signs * away

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        logits, boxes = self.heads(x)
        low, high = boxes[:, :2], boxes[:, 2:]
        raw = torch.cat(((low + high) / 2, high - low, logits.sigmoid()), 1)
        return raw.flatten(2), [torch.cat((boxes, logits), 1)]


def detector() -> nn.Module:
    torch.manual_seed(0)
    model = CentreDetector()

    def loss(step: int) -> Tensor:
        drawn = draw(16, step)
        logits, boxes = model.heads(drawn.pictures)
        wanted, near = torch.zeros_like(logits), torch.zeros_like(logits)
        away = logits.new_zeros(())
        for i in range(len(drawn.boxes)):
            for shape, box in enumerate(drawn.boxes[i]):
                column, row = ((box[:2] + box[2:]) / 8).int().tolist()
                centre = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
                wanted[i, shape][centre] = near[i, 0][centre] = near[i, 1][centre] = 1
                found = boxes[i][(slice(None), *centre)]
                away = away + l1_loss(found, box[:, None, None].expand_as(found)) / 32
        return binary_cross_entropy_with_logits(logits, wanted, 1 + 9 * near) + away / 4

    return trained(model, loss, 150)


class PictureTower(nn.Module):
    """An embedding of unit length, under transformers' name for it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = features()
        self.projection = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = self.features(x)
        return {
            "last_hidden_state": seen,
            "image_embeds": normalize(self.projection(seen.mean((2, 3)))),
        }


class TwoTowers(nn.Module):
    """Pictures and words in one space (CLIP), trained so that a picture is like its word."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = PictureTower()
        self.words = nn.Embedding(3, 8)

    def word(self, index: int) -> Tensor:
        return normalize(self.words.weight[index], dim=0)


class Answering(nn.Module):
    """Says which shape is in the half that it is asked about, then a full stop (VQA).

    Called with the picture and a question (batch,), 0 for the left half and 1 for the right;
    returns logits (batch, positions, vocabulary) of an answer of two tokens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = features()
        self.attention = nn.Conv2d(32, 1, 1)
        self.vocabulary = nn.Linear(32, 2 * len(VOCABULARY))

    def forward(self, x: Tensor, question: Tensor) -> dict[str, Tensor]:
        seen = self.features(x)
        right = torch.arange(seen.shape[3]) >= seen.shape[3] // 2
        asked = right == question.bool()[:, None, None, None]
        attention = (self.attention(seen) + 10 * asked).flatten(2).softmax(2)
        answer = self.vocabulary((seen.flatten(2) * attention).sum(2))
        return {"logits": answer.reshape(len(x), 2, -1)}


VOCABULARY = (*NAMES, ".")


def two_halves(left: Drawn, right: Drawn) -> Tensor:
    """Pictures with the left half of some and the right half of others."""
    half = SIZE // 2
    return torch.cat((left.pictures[..., :half], right.pictures[..., half:]), 3)


def answering() -> nn.Module:
    """Trained where a half says nothing of the other: they are of different drawings."""
    torch.manual_seed(0)
    model = Answering()

    def loss(step: int) -> Tensor:
        drawn = draw(16, 2 * step), draw(16, 2 * step + 1)
        question = torch.arange(16) % 2
        answers = []
        for i in range(16):
            boxes = drawn[question[i]].boxes[i]
            here = (boxes[:, 0] >= SIZE // 2) == bool(question[i])
            answers.append(DISC if bool(here[0]) else SQUARE)
        wanted = torch.tensor([(answer, VOCABULARY.index(".")) for answer in answers])
        logits = model(two_halves(*drawn), question)["logits"]
        return cross_entropy(logits.flatten(0, 1), wanted.flatten())

    return trained(model, loss, 120)


def two_towers() -> TwoTowers:
    torch.manual_seed(0)
    model = TwoTowers()

    def loss(step: int) -> Tensor:
        shape = (DISC, SQUARE, 0)
        drawn = [draw(6, 3 * step + i, which=(one,) if one else ()) for i, one in enumerate(shape)]
        seen = model.pictures(torch.cat([one.pictures for one in drawn]))["image_embeds"]
        words = normalize(model.words.weight)
        wanted = torch.tensor(shape).repeat_interleave(6)
        return cross_entropy(10 * seen @ words.T, wanted)

    trained(model, loss, 150)
    return model
