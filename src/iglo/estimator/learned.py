"""The result of `fit` and `partial_fit`. It is pickled as plain values and the bytes of safetensors files."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from iglo.errors import UserError
from iglo.estimator.image_adapter import ImageAdapter
from iglo.estimator.learning import learn_model, learn_more
from iglo.estimator.settings import Settings
from iglo.export.writing import fit_model_prior
from iglo.latent.priors import Prior
from iglo.models.codes import Codes, CodeTable
from iglo.models.config import config_record, parse_config
from iglo.models.glo import GLOModel, encode, render
from iglo.models.history import ArrivalRecord, History
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from iglo.runtime.device import Runtime, runtime_on
from iglo.runtime.process import library_call
from iglo.training.replay import rendered

FIXED = ("n_components", "constraint", "network", "width")  # settings that decide the sizes and the kind of a model


@dataclass(frozen=True)
class Learned:
    """The model, the prior and the adapter of a fitted estimator, with the settings that they were made with.

    Attributes:
        seed: that of the first fit.
        arrivals: the images that were learned after the first fit.
        renders: (N, H, W, C) uint8, what the generator rendered of each code when it had just learned it; None before
            the first arrival.
    """

    model: GLOModel
    prior: Prior
    adapter: ImageAdapter
    settings: Settings
    seed: int
    runtime: Runtime
    arrivals: tuple[ArrivalRecord, ...] = ()
    renders: np.ndarray | None = None

    @classmethod
    def fit(
        cls, rows: np.ndarray, adapter: ImageAdapter, settings: Settings, seed: int, verbose: bool
    ) -> tuple["Learned", History]:
        """Learns samples (n, F); returns what is learned, and the history."""
        params = settings.params(len(rows), adapter.side, adapter.channels, seed)
        runtime = runtime_on(None, params.precision)
        model, history = learn_model(adapter.to_images(rows), params, runtime, verbose)
        prior = fit_model_prior(params.prior, model, seed)
        return cls(model, prior, adapter, settings, seed, runtime), history

    @property
    def dimension(self) -> int:
        """Length of a code."""
        return self.model.config.dimension

    @property
    def params(self) -> Params:
        """The params of a run of the pipeline that learns the same images, all in its first run."""
        return self.settings.params(len(self.model.codes.values), self.adapter.side, self.adapter.channels, self.seed)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Computes the encoder's codes (n, d) float32 of samples (n, F)."""
        return encode(self.model.encoder, self.adapter.to_images(rows), self.model.config, self.runtime).numpy()

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Projects codes (n, d) float32 to where codes may lie, and renders them as samples (n, *item_shape)."""
        projected = self.model.config.geometry().project(torch.tensor(codes))
        return self.adapter.to_samples(render(self.model.generator, projected, self.runtime))

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Draws codes (count, d) float32 from the prior."""
        return self.prior.draw(count, torch_generator(seed, "samples")).numpy()

    def partial_fit(self, rows: np.ndarray, settings: Settings, verbose: bool) -> tuple["Learned", History]:
        """Learns samples (n, F) that arrive later, and fits the prior again. This object stays as it is.

        Returns:
            What is learned now, and the history of this arrival alone.

        Raises:
            UserError: a setting that decides the sizes or the kind of the model has changed.
        """
        for name in FIXED:
            made, given = getattr(self.settings, name), getattr(settings, name)
            if made != given:
                raise UserError(f"{name}: must stay {made}, as in fit, got {given}; call fit to learn all images anew.")
        codes = self.model.codes.values.cpu().numpy()
        old = Learned.unpacked(self.packed() | {"settings": asdict(settings)}, codes)  # a copy, as after pickling
        adapter, name = self.adapter, f"arrival {len(self.arrivals) + 1}"
        params = settings.arrival_params(len(rows), len(codes), adapter.side, adapter.channels, self.seed)
        renders = rendered(old.model, old.model.codes.values, old.runtime) if old.renders is None else old.renders
        model, history = learn_more(old.model, name, adapter.to_images(rows), renders, params, old.runtime, verbose)
        new = rendered(model, model.codes.values[len(codes) :], old.runtime)
        learned = replace(
            old,
            model=model,
            prior=fit_model_prior(params.prior, model, self.seed),
            arrivals=(*self.arrivals, *history.arrivals),
            renders=np.concatenate([renders, new]),
        )
        return learned, history

    def packed(self) -> dict[str, Any]:
        """Returns plain values and bytes, without the codes, which the estimator has."""
        return {
            "config": config_record(self.model.config),
            "encoder_width": self.model.encoder.width,
            "generator": _bytes(self.model.generator.state_dict()),
            "encoder": _bytes(self.model.encoder.state_dict()),
            "prior": self.prior.name,
            "prior_arrays": _bytes(self.prior.arrays),
            "adapter": asdict(self.adapter),
            "settings": asdict(self.settings),
            "seed": self.seed,
            "arrivals": [asdict(each) for each in self.arrivals],
            "renders": self.renders,
        }

    @classmethod
    @library_call()
    def unpacked(cls, state: dict[str, Any], codes: np.ndarray) -> "Learned":
        """Restores what `packed` returned; the codes (N, d) are those of the estimator."""
        config, settings = parse_config(state["config"]), Settings(**state["settings"])
        runtime = runtime_on(None, settings.precision)
        generator, encoder = config.generator(), config.encoder(state["encoder_width"])
        generator.load_state_dict(load(state["generator"]))
        encoder.load_state_dict(load(state["encoder"]))
        table = Codes(image=CodeTable(torch.tensor(codes), config.geometry())).to(runtime.device)
        model = GLOModel(config, runtime.to_device(generator), table, runtime.to_device(encoder))
        prior = Prior(state["prior"], load(state["prior_arrays"]), config.geometry())
        arrivals = tuple(ArrivalRecord(**each) for each in state.get("arrivals", ()))  # an earlier iglo had none
        adapter, renders = ImageAdapter(**state["adapter"]), state.get("renders")
        return cls(model, prior, adapter, settings, state["seed"], runtime, arrivals, renders)


def _bytes(arrays: dict[str, torch.Tensor]) -> bytes:
    return save({name: array.detach().cpu().contiguous() for name, array in arrays.items()})
