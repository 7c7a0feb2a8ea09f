"""Finds the codes of images that a user gives to the page: by the encoder at once, or by optimisation step by step."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from iglo.data.user_images import read_bytes
from iglo.errors import UserError
from iglo.evaluation.metrics import psnr
from iglo.explore.addresses import code_address
from iglo.explore.sheets import sheet
from iglo.explore.views import Answer, Views
from iglo.latent.inversion import Inverted, Search, optimise_codes
from iglo.models.glo import encode
from iglo.progress import quiet
from iglo.runtime.process import library_call

MOST_OPTIMISATIONS = 2  # at the same time


class StoppedError(Exception):
    """The user has stopped an optimisation."""


class Uploads:
    """Finds codes of images. An image is the bytes of a file; nothing of it is kept."""

    def __init__(self, views: Views):
        self.views, self.bundle, self.runtime = views, views.model.bundle, views.model.runtime
        self._running, self._decoding = threading.Semaphore(MOST_OPTIMISATIONS), threading.Lock()

    def encoded(self, content: bytes) -> Answer:
        """Returns the encoder's code of an image, its reconstruction, and the nearest training images."""
        image, note = self._read(content)
        code = self._encoded(image)
        return {
            "image": sheet(image[None]),
            **self._compared(image, code),
            "notes": [note] if note else [],
            "near": self.views.near_image(image, code),
        }

    @library_call()
    def optimised(self, content: bytes, steps: int, tell: Callable[[Answer], None], stopped: threading.Event) -> None:
        """Optimises the code of an image, from the encoder's code.

        Args:
            tell: is called with the best code so far, every few steps and at the end.
            stopped: ends the search when it is set.

        Raises:
            UserError: the image cannot be used, or too many optimisations run already.
        """
        if not self._running.acquire(blocking=False):
            raise UserError(f"invert: {MOST_OPTIMISATIONS} optimisations run already; wait until one has ended.")
        try:
            self._optimise(content, steps, tell, stopped)
        except StoppedError:
            pass
        finally:
            self._running.release()

    def _optimise(self, content: bytes, steps: int, tell: Callable[[Answer], None], stopped: threading.Event) -> None:
        image, _ = self._read(content)

        def watch(step: int, best: Inverted) -> None:
            if stopped.is_set():
                raise StoppedError
            tell({"step": step, "steps": steps, **self._compared(image, best.codes[0])})

        with quiet():
            distance = self.views.model.distance(None)
            starts = self._encoded(image)[None, None]
            search = Search(steps, tolerance=0)
            found = optimise_codes(self.bundle, image[None], starts, distance, self.runtime, search, watch)
        tell({"step": steps, "steps": steps, **self._compared(image, found.codes[0]), "done": True})

    def _read(self, content: bytes) -> tuple[np.ndarray, str | None]:
        config = self.bundle.config
        with self._decoding:  # a large image takes much memory
            return read_bytes(content, config.image_size, config.channels)

    def _encoded(self, image: np.ndarray) -> torch.Tensor:
        with quiet():
            return encode(self.bundle.encoder, image[None], self.bundle.config, self.runtime)[0].cpu()

    def _compared(self, image: np.ndarray, code: torch.Tensor) -> dict[str, Any]:
        """Compares an image (H, W, C) with the render of a code (d,). The difference is grey where they are equal."""
        rendered = self.views.pictures.rendered(code[None])
        difference = np.rint((rendered[0].astype(np.float32) - image) / 2 + 127.5).astype(np.uint8)
        return {
            "ref": code_address(code),
            "reconstruction": sheet(rendered),
            "difference": sheet(difference[None]),
            "psnr": round(psnr(rendered / 255, image[None] / 255), 2),
        }
