"""The result of a fit. It is pickled as plain values and the bytes of safetensors files."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from iglo.estimator.image_adapter import ImageAdapter
from iglo.estimator.settings import Settings
from iglo.latent.priors import Prior
from iglo.models.codes import Factor, LatentTable
from iglo.models.glo import Model, Shape, encode
from iglo.models.glo import decode as render
from iglo.models.snapshots import Snapshots
from iglo.params.sections import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime, library_call, runtime_on


@dataclass(frozen=True)
class Learned:
    """The model, the prior and the adapter of a fitted estimator, with the settings that they were made with."""

    model: Model
    prior: Prior
    adapter: ImageAdapter
    settings: Settings
    seed: int
    runtime: Runtime

    @property
    def dimension(self) -> int:
        """Length of a code."""
        return self.model.shape.dimension

    @property
    def params(self) -> Params:
        """The params of a run of the pipeline that learns the same."""
        return self.settings.params(len(self.model.codes), self.adapter.side, self.adapter.channels, self.seed)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Computes the encoder's codes (n, d) float32 of samples (n, F)."""
        return encode(self.model.encoder, self.adapter.to_images(rows), self.model.shape, self.runtime).numpy()

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Projects codes (n, d) float32 to where codes may lie, and renders them as samples (n, *item_shape)."""
        projected = self.model.shape.geometry().project(torch.tensor(codes))
        return self.adapter.to_samples(render(self.model.generator, projected, self.runtime))

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Draws codes (count, d) float32 from the prior."""
        return self.prior.draw(count, torch_generator(seed, "samples")).numpy()

    def packed(self) -> dict[str, Any]:
        """Returns plain values and bytes, without the codes and the history, which the estimator has."""
        return {
            "shape": asdict(self.model.shape),
            "encoder_width": self.model.encoder.width,
            "generator": _bytes(self.model.generator.state_dict()),
            "encoder": _bytes(self.model.encoder.state_dict()),
            "prior": self.prior.name,
            "prior_arrays": _bytes(self.prior.arrays),
            "adapter": asdict(self.adapter),
            "settings": asdict(self.settings),
            "seed": self.seed,
        }

    @classmethod
    @library_call()
    def unpacked(cls, state: dict[str, Any], codes: np.ndarray, history: list[dict[str, Any]]) -> "Learned":
        """Restores what `packed` returned; codes (N, d) and history are those of the estimator."""
        shape, settings = Shape(**state["shape"]), Settings(**state["settings"])
        runtime = runtime_on(None, settings.precision)
        generator, encoder = shape.generator(), shape.encoder(state["encoder_width"])
        generator.load_state_dict(load(state["generator"]))
        encoder.load_state_dict(load(state["encoder"]))
        table = LatentTable(image=Factor(torch.tensor(codes), shape.geometry())).to(runtime.device)
        subset_id = np.zeros(len(codes), np.int32)
        model = Model(shape, runtime.place(generator), table, subset_id, Snapshots(torch.zeros(0, dtype=torch.int64)))
        model.encoder, model.log = runtime.place(encoder), history
        prior = Prior(state["prior"], load(state["prior_arrays"]), shape.geometry())
        return cls(model, prior, ImageAdapter(**state["adapter"]), settings, state["seed"], runtime)


def _bytes(arrays: dict[str, torch.Tensor]) -> bytes:
    return save({name: array.detach().cpu().contiguous() for name, array in arrays.items()})
