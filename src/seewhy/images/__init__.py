"""From a picture to the model's input, and from the model's map back onto the picture.

Sizes are (height, width) throughout. Places are in pixels measured from the picture's upper left
corner, so that pixel `x` covers `x` to `x + 1` and has its centre at `x + 0.5`.
"""

from seewhy.images.pixels import Picture
from seewhy.images.preprocess import INTERPOLATIONS, ImageSource, Preprocess
from seewhy.images.reading import PictureBytes, Readable, read_image, read_picture
from seewhy.images.transforms import preprocess_from
from seewhy.images.window import Window, place

__all__ = [
    "INTERPOLATIONS",
    "ImageSource",
    "Picture",
    "PictureBytes",
    "Preprocess",
    "Readable",
    "Window",
    "place",
    "preprocess_from",
    "read_image",
    "read_picture",
]
