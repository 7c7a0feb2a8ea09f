"""Runs a scenario with one way to keep the earlier images, and measures every group after every arrival."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arrivals.scenarios import Group, Scenario
from iglo.estimator.settings import growing_rounds
from iglo.evaluation import metrics
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.measure import through_encoder
from iglo.files.io import read_json, whole_folder, write_json
from iglo.models.glo import GLOModel, render
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime
from iglo.subsets.rounds import subsets_of
from iglo.training.arrival_stages import learn_arrival, refresh_encoder
from iglo.training.encoder_stages import learn_encoder, learn_jointly
from iglo.training.glo_stages import learn_all, learn_subset, start_model
from iglo.training.replay import NewImages, rendered
from iglo.training.trainer import Trainer

Values = dict[str, Any]


class Laboratory:
    """Trains and measures the methods of one scenario with one seed.

    Args:
        cache: folder for the model of the first run, which all methods start from.
    """

    def __init__(self, scenario: Scenario, cache: Path, runtime: Runtime):
        self.scenario, self.cache, self.runtime = scenario, cache, runtime
        self.params = scenario.params
        self.network = FeatureNetwork.make(self.params.evaluate, self.params.loss, runtime)

    def result(self, method: str) -> Values:
        """Returns the numbers after the first run and after every arrival; for `scratch`, those of the end."""
        return self.from_scratch() if method == "scratch" else self.arrivals(method)

    def arrivals(self, keep: str) -> Values:
        """Learns all arrivals in turn."""
        params, changes = self.params, self.scenario.of_generated if keep == "generated" else {}
        params = dataclasses.replace(params, arrival=dataclasses.replace(params.arrival, **changes))
        model, history = self.first_model()
        groups = self.scenario.groups
        renders = rendered(model, model.codes.values, self.runtime)
        steps = [
            self._measured(model, groups[:1], seen=True) | first_cost(history) | read_json(self.cache / "time.json")
        ]
        for index in range(1, len(groups)):
            group = groups[index]
            transfer = self._encoded(model, group.test)
            earlier = np.concatenate([each.train for each in groups[:index]])
            replayed = {"images": earlier, "generated": renders}.get(keep)
            new = NewImages(f"arrival {index}", group.train, [np.arange(len(group.train))], keep, replayed)
            start = time.perf_counter()
            model, learned = learn_arrival(model, history, new, params, self.runtime)
            refreshed = refresh_encoder(model, history, new, params, self.runtime)
            cost = {
                "images_seen": learned.images_seen,
                "encoder_images_seen": refreshed.images_seen,
                "seconds": time.perf_counter() - start,
            }
            of_new = rendered(model, model.codes.values[len(earlier) :], self.runtime)
            renders = np.concatenate([renders, of_new])
            last = index == self.scenario.counted - 1
            steps.append(self._measured(model, groups[: index + 1], seen=last) | {"transfer": transfer} | cost)
        return {"steps": steps}

    def from_scratch(self) -> Values:
        """Learns all images as a first run does, with as many images seen as in the first run and all arrivals."""
        groups = self.scenario.groups[: self.scenario.counted]
        train = np.concatenate([group.train for group in groups])
        start = time.perf_counter()
        model, history = learn_first(train, self._budget(groups), self.params, self.runtime)
        seconds = time.perf_counter() - start
        return {"steps": [self._measured(model, groups, seen=True) | first_cost(history) | {"seconds": seconds}]}

    def first_model(self) -> tuple[GLOModel, History]:
        """Returns the model of the first run, from the cache if it is there."""
        if not self.cache.is_dir():
            start = time.perf_counter()
            model, history = learn_first(self.scenario.groups[0].train, None, self.params, self.runtime)
            with whole_folder(self.cache) as folder:
                model.save(folder)
                history.save(folder)
                write_json(folder / "time.json", {"seconds": time.perf_counter() - start})
        return GLOModel.load(self.cache, self.runtime), History.load(self.cache)

    def _budget(self, groups: tuple[Group, ...]) -> int:
        """Returns how many images the generator sees in the first run and in the arrivals with `keep: images`."""
        _, history = self.first_model()
        section, total = self.params.arrival, first_cost(history)["images_seen"]
        for group in groups[1:]:
            size = min(section.current_batch, len(group.train))
            steps = -(-len(group.train) // section.current_batch)
            for epochs, noisy in ((section.epochs, False), (section.polish_epochs, self.params.last_sigma > 0)):
                taken = max(epochs * steps, -(-section.least_steps // steps) * steps)
                total += taken * (size + section.earlier_batch) * (1 + noisy)
        return total

    def _measured(self, model: GLOModel, groups: tuple[Group, ...], seen: bool) -> Values:
        """Measures G(z) of the training images and G(E(x)) of the test images of each group.

        Args:
            seen: whether the feature network also sees the images of the first group, which takes most of the time.
        """
        start, found, tested = 0, {}, {}
        for group in groups:
            codes = model.codes.values[start : start + len(group.train)]
            network = seen and not start
            train = self._quality(render(model.generator, codes, self.runtime), group.train, network)
            if id(group.test) not in tested:  # groups of one kind have the same test images
                tested[id(group.test)] = self._encoded(model, group.test, network)
            found[group.name] = {"train": train, "test": tested[id(group.test)]}
            start += len(group.train)
        return {"groups": found}

    def _encoded(self, model: GLOModel, images: np.ndarray, network: bool = False) -> Values:
        """Measures G(E(x)) of images x; nothing if there are none."""
        return self._quality(through_encoder(model, images, self.runtime), images, network) if len(images) else {}

    def _quality(self, images: np.ndarray, targets: np.ndarray, network: bool = False) -> Values:
        real = targets.astype(np.float32) / 255
        values = {"count": len(images), "psnr": metrics.psnr(images, real)}
        if network:
            values["distance"] = float(self.network.distance(images, real).mean())
            features = [self.network.features(each) for each in (images, real)]
            values["kd"] = metrics.paired_kernel_distance(*features)[0]
        return values


def learn_first(train: np.ndarray, budget: int | None, params: Params, runtime: Runtime) -> tuple[GLOModel, History]:
    """Learns images as the first run does.

    Args:
        budget: how many images the generator sees before the encoder; None: as many as the params say.
    """
    params = dataclasses.replace(params, rounds=growing_rounds(len(train), 3, params.rounds[0].epochs))
    model, history = start_model(train, params, runtime)
    trainer = Trainer(model, train, history, params, runtime)
    seen = sum(
        learn_subset(trainer, subset, index).images_seen
        for index, subset in enumerate(subsets_of(train, params, runtime))
    )
    learn_all(trainer, None if budget is None else budget - seen)
    learn_encoder(trainer)
    learn_jointly(trainer)
    return model, history


def first_cost(history: History) -> Values:
    """Returns how many images were seen in a first run: by the generator, and then with the encoder."""
    seen = {row["stage"]: row["images_seen"] for row in history.log}
    with_encoder = sum(seen.pop(name, 0) for name in ("encoder", "joint"))
    return {"images_seen": sum(seen.values()), "encoder_images_seen": with_encoder}
