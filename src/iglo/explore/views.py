"""What the page asks for: each function answers one kind of request with plain values and sheets of images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iglo.data.image_io import MAX_PIXELS_AT_ONCE
from iglo.errors import UserError, shown
from iglo.explore import queries
from iglo.explore.addresses import SAMPLES, Move, Sample, code_address, parse_address, sample_address
from iglo.explore.latent_space import LatentSpace
from iglo.explore.learning import history_of
from iglo.explore.maps import LAYOUTS
from iglo.explore.opening import Explored
from iglo.explore.pictures import Pictures
from iglo.explore.sheets import data_url, png, sheet
from iglo.export.pretrained import perceptual_distance

AMOUNTS = (-3, -2, -1, 0, 1, 2, 3)  # standard deviations in a strip of a direction
NEIGHBOURS = 3
Answer = dict[str, Any]


@dataclass(eq=False)
class Views:
    """Answers requests about a model.

    Args:
        explored: the model.
        embeddings: folder in which neighbour embeddings are kept.
    """

    explored: Explored
    embeddings: Path

    def __post_init__(self) -> None:
        self.model, self.config = self.explored.model, self.explored.model.config
        self.space = LatentSpace(self.explored, self.embeddings)
        self.pictures = Pictures(self.explored)

    @cached_property
    def answers(self) -> dict[str, tuple[type, Callable[[Any], Answer]]]:
        """For each address of the API: the parameters, and the function that answers."""
        return {
            "model": (queries.Nothing, self.about),
            "points": (queries.Nothing, self.points),
            "map": (queries.OfMap, self.map),
            "decode": (queries.OfRefs, self.decode),
            "training": (queries.OfRows, self.training),
            "near": (queries.OfRef, self.near),
            "samples": (queries.OfSamples, self.samples),
            "path": (queries.OfPath, self.path),
            "directions": (queries.OfRef, self.directions),
            "conversions": (queries.OfRefs, self.conversions),
            "history": (queries.Nothing, self.history),
        }

    # --- The model ---

    def about(self, query: queries.Nothing) -> Answer:
        explored, config, history = self.explored, self.config, self.explored.history
        priors = [
            {
                "name": name,
                "label": prior.label,
                "chosen": name == explored.chosen,
                "kernel_distance": explored.kernel_distance.get(name),
            }
            for name, prior in explored.priors.items()
        ]
        return {
            "name": explored.name,
            "digest": explored.digest,
            "kind": config.kind,
            "image_size": config.image_size,
            "channels": config.channels,
            "dimension": config.dimension,
            "constraint": getattr(config, "constraint", "none"),
            "count": len(explored.codes),
            "shown": len(explored.rows),
            "classes": [*map(shown, config.classes)],
            "labels": explored.labels,
            "subsets": int(history.subset_id.max()) if history else 0,
            "priors": priors,
            "has": {"images": explored.training is not None, "history": history is not None},
            "layouts": LAYOUTS,
            "ways": self.space.ways,
            "directions": self._directions(),
            "step_distance": self._step_distance[0],
            "sheets": self.pictures.layout,
            "limits": {
                "samples": SAMPLES,
                "steps": queries.MOST_STEPS,
                "frames": queries.MOST_FRAMES,
                "stops": queries.MOST_STOPS,
                "refs": queries.MOST_REFS,
                "upload_bytes": queries.LARGEST_UPLOAD,
                "upload_pixels": MAX_PIXELS_AT_ONCE,
                "optimisation_steps": queries.MOST_OPTIMISATION_STEPS,
            },
            "recorded": None,
        }

    def points(self, query: queries.Nothing) -> Answer:
        explored, rows = self.explored, self.explored.rows
        training, history, number = explored.training, explored.history, {}
        number = {label: index for index, label in enumerate(explored.labels)}
        known = np.zeros(len(explored.codes), int)
        if history is not None:
            known[: len(history.subset_id)] = history.subset_id[: len(known)]
        psnr = self.pictures.psnr
        return {
            "row": rows,
            "name": [training.names[row] for row in rows] if training else [f"image {row}" for row in rows],
            "label": [number.get(training.labels[row], -1) if training else -1 for row in rows],
            "subset": known[rows].tolist(),
            "psnr": None if psnr is None else np.round(psnr, 2).tolist(),
        }

    def history(self, query: queries.Nothing) -> Answer:
        if self.explored.history is None:
            raise UserError("history: an exported model has none; open the folder of the trained model.")
        return history_of(self.explored.history, self.explored.training)

    # --- Maps and codes ---

    def map(self, query: queries.OfMap) -> Answer:
        if not self.space.is_ready(query.layout):
            self.space.embedding.start()
            return {"ready": False, "sentence": self.space.waiting()}
        code_map, shade = self.space.map(query.layout), self.space.shade(query.layout)
        return {
            "ready": True,
            "x": np.round(code_map.points[:, 0], 4).tolist(),
            "y": np.round(code_map.points[:, 1], 4).tolist(),
            "shade": {
                "url": data_url(png(shade.grey)),
                "low": 0.0,
                "high": float(shade.distance.max()),
            },
            "explained": code_map.explained,
        }

    def decode(self, query: queries.OfRefs) -> Answer:
        codes = [self.space.code(ref) for ref in query.ref]
        return {**sheet(self.pictures.rendered(torch.stack(codes))), "refs": query.ref}

    def training(self, query: queries.OfRows) -> Answer:
        explored = self.explored
        if far := [row for row in query.row if row >= len(explored.codes)]:
            raise UserError(f"row: must be below {len(explored.codes)}, got {far[0]}.")
        return {
            **sheet(self.pictures.images(query.row)),
            "rows": query.row,
            "names": [self._name(row) for row in query.row],
            "labels": [self._label(row) for row in query.row],
        }

    def near(self, query: queries.OfRef) -> Answer:
        code = self.space.code(query.ref)
        return self.near_image(self.pictures.rendered(code[None])[0], code)

    def near_image(self, image: np.ndarray, code: Tensor) -> Answer:
        """Finds the training images nearest to an image (H, W, C); code distances are those from a code (d,)."""
        rows, distances = self.pictures.nearest(image, NEIGHBOURS)
        away = (self.explored.codes[rows] - code).norm(dim=1).tolist()
        neighbours = [
            {"row": row, "name": self._name(row), "label": self._label(row), "distance": near, "code_distance": far}
            for row, near, far in zip(rows, distances, away, strict=True)
        ]
        return {
            "neighbours": neighbours,
            "sheet": sheet(self.pictures.images(rows)),
            "typical": self.pictures.typical,
        }

    def _name(self, row: int) -> str:
        return self.explored.training.names[row] if self.explored.training else f"image {row}"

    def _label(self, row: int) -> str:
        return self.explored.training.labels[row] if self.explored.training else ""

    # --- Samples, paths, directions ---

    def samples(self, query: queries.OfSamples) -> Answer:
        codes = self.space.samples(query.prior, query.seed, query.psi, query.toward)[: query.count]
        drawn = [Sample(query.prior, query.seed, index, query.psi, query.toward) for index in range(query.count)]
        return {**sheet(self.pictures.rendered(codes)), "refs": [sample_address(each) for each in drawn]}

    def path(self, query: queries.OfPath) -> Answer:
        codes = self.path_codes(query)
        images = self.pictures.rendered(codes)
        legs = len(query.stop) - (not query.closed)
        name, sizes = self._step_distance[0], self._step_sizes(images)
        return {
            **sheet(images),
            "refs": [code_address(code) for code in codes],
            "step_sizes": sizes,
            "unit": name,
            "stops": [leg * query.steps for leg in range(legs + (not query.closed))],
        }

    def path_codes(self, query: queries.OfPath) -> Tensor:
        """Returns the codes of the images of a path."""
        stops = [self.space.code(ref) for ref in query.stop]
        return self.space.path(stops, query.way, query.steps, bool(query.closed))

    def directions(self, query: queries.OfRef) -> Answer:
        address, directions = parse_address(query.ref), self.space.directions
        values = directions.values(self.space.code_of(address)[None])[0].tolist()
        codes, refs = [], []
        for index in range(len(directions.std)):
            moved = [address._replace(moves=(*address.moves, Move(index, amount))) for amount in AMOUNTS]
            codes += [self.space.code_of(each) for each in moved]
            refs.append([f"{query.ref}~d:{index}:{amount}" for amount in AMOUNTS])
        found = [{**each, "value": value} for each, value in zip(self._directions(), values, strict=True)]
        strips = sheet(self.pictures.rendered(torch.stack(codes)), len(AMOUNTS)) if codes else None
        return {"directions": found, "strips": strips, "amounts": AMOUNTS, "refs": refs}

    def conversions(self, query: queries.OfRefs) -> Answer:
        if not self.config.classes:
            raise UserError("conversions: this model has no classes; open one of class and content.")
        labels = range(len(self.config.classes))
        if len(query.ref) * len(labels) > queries.MOST_FRAMES:
            raise UserError(f"ref: at most {queries.MOST_FRAMES} images, got {len(query.ref)} × {len(labels)}.")
        bare = ["~".join(part for part in ref.split("~") if not part.startswith("k:")) for ref in query.ref]
        refs = [[f"{ref}~k:{label}" for label in labels] for ref in bare]
        codes = torch.stack([self.space.code(ref) for row in refs for ref in row])
        return {
            **sheet(self.pictures.rendered(codes), len(labels)),
            "classes": [*map(shown, self.config.classes)],
            "refs": refs,
        }

    # --- Parts ---

    def _directions(self) -> list[Answer]:
        """Describes the principal directions."""
        pairs = zip(self.space.directions.std.tolist(), self.space.directions.share.tolist(), strict=True)
        return [{"index": index, "std": std, "share": share} for index, (std, share) in enumerate(pairs)]

    @cached_property
    def _step_distance(self) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
        """The name of the distance between successive images of a path, and the distance."""
        if found := perceptual_distance(self.model.bundle, self.model.runtime):
            name, distance = found
            return f"LPIPS ({name.removeprefix('lpips_')})", distance
        return "root mean square of pixels", _rms

    def _step_sizes(self, images: np.ndarray) -> list[float]:
        frames = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        pairs = zip(frames[:-1].split(64), frames[1:].split(64), strict=True)
        return torch.cat([self._step_distance[1](a, b).float().cpu() for a, b in pairs]).tolist()


def _rms(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().flatten(1).mean(1).sqrt()
