"""Trains the feature network for digits, a small classifier: src/iglo/backbones/digits.safetensors.

`python -m tools.train_digits` trains it and writes the file, in a few minutes on one core. With `--check` it only
prints how good the file is: the accuracy, and kernel distances of test images to real and to damaged digits.

The network sees the 1500 training images of the default split. The epoch is chosen on 147 validation images. It learns
from two kinds of images, so that it is not sure about images that are no digits:

- digits, slightly turned, scaled and shifted. They are not blurred and get no noise, because the network must see both;
- noise, and digits cut into patches that are shuffled; the target gives all classes the same probability (outlier
  exposure, Hendrycks et al. 2019).

It never sees a crossfade of two digits, so the check with crossfades is fair. Two other recipes were tried before, and
compared on training and validation images. A network that learned from crossfades too, with both classes as the target,
rated slight blur nearly as bad as a crossfade. One that learned from digits alone rated shuffled patches better than a
crossfade.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

from iglo.backbones.networks import load_backbone
from iglo.backbones.small_cnn import DIGITS, SmallCNN, load_small_cnn
from iglo.data.prepare import write_store
from iglo.data.sources import open_source
from iglo.data.store import PARTS, ImageStore
from iglo.evaluation import metrics
from iglo.params.reading import load_params
from iglo.randomness import torch_generator
from iglo.runtime.process import building, use_exact_settings
from iglo.runtime.threads import set_threads
from stages.imports import ROOT

CLASSES = 10


@dataclass(frozen=True)
class Recipe:
    """How the network is trained; `outliers` is the weight of images that are no digits."""

    epochs: int = 25
    batch: int = 50
    rate: float = 3e-3
    decay: float = 0.05
    angle: float = 10.0  # degrees, at most
    scale: float = 0.1  # larger or smaller by this share, at most
    shift: float = 1.5  # pixels, at most
    outliers: float = 0.5
    seed: int = 0


def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """Returns images (N, 1, 32, 32) in [0, 1] and classes (N,) of the parts train, validation and test, as prepared."""
    data = load_params(ROOT / "presets" / "digits.yaml").data
    with TemporaryDirectory() as folder:
        write_store(open_source(data, ""), data, f"{folder}/prepared")
        store = ImageStore.open(f"{folder}/prepared")
        images = torch.from_numpy(np.array(store.images)).permute(0, 3, 1, 2).contiguous().float() / 255
        labels = torch.from_numpy(store.label_ids)
    pieces = zip(images.split(store.parts), labels.split(store.parts), strict=True)
    return dict(zip(PARTS, pieces, strict=True))


# --- Images that are no digits ---


def blurred(images: Tensor, sigma: float = 1.5) -> Tensor:
    """Blurs images (B, 1, H, W); `sigma` is in pixels."""
    return gaussian_blur(images, 2 * math.ceil(3 * sigma) + 1, sigma)


def shuffled_patches(images: Tensor, rng: torch.Generator, side: int = 8) -> Tensor:
    """Cuts each image (B, 1, H, W) into patches of `side` pixels, and joins them in another order, at random."""
    count, _, height, width = images.shape
    patches = functional.unfold(images, side, stride=side)
    order = torch.rand(count, patches.shape[2], generator=rng, dtype=torch.float32).argsort(1)
    unchanged = (order == torch.arange(patches.shape[2])).all(1, keepdim=True)
    order = torch.where(unchanged, order.flip(1), order)[:, None]
    patches = patches.gather(2, order.expand_as(patches))
    return functional.fold(patches, (height, width), side, stride=side)


def noise(images: Tensor, rng: torch.Generator) -> Tensor:
    """Returns uniform noise in [0, 1] of the shape of `images`."""
    return torch.rand(images.shape, generator=rng, dtype=torch.float32)


def crossfades(images: Tensor) -> Tensor:
    """Mixes each image half and half with the next one; the last one with the first."""
    return (images + images.roll(1, 0)) / 2


def outliers(images: Tensor, rng: torch.Generator) -> Tensor:
    """Makes from each image one that is no digit: shuffled patches of 4, 8 or 16 pixels, or coarse or fine noise."""
    kinds = [shuffled_patches(images, rng, side) for side in (4, 8, 16)]
    for side in (4, 8, 16, 32):
        grid = torch.rand(len(images), 1, side, side, generator=rng, dtype=torch.float32)
        low, high = torch.rand(2, len(images), 1, 1, 1, generator=rng, dtype=torch.float32)
        kinds.append(functional.interpolate(low + (high - low) * grid, size=images.shape[-2:], mode="bilinear"))
    choice = torch.randint(len(kinds), (len(images),), generator=rng)
    return torch.stack(kinds)[choice, torch.arange(len(images))]


# --- Training ---


def moved(images: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Turns, scales and shifts each image (B, 1, H, W) at random; the border is black."""
    turn, grow, across, down = 2 * torch.rand(4, len(images), generator=rng, dtype=torch.float32) - 1
    angle, size = turn * math.radians(recipe.angle), 1 + recipe.scale * grow
    cos, sin, step = angle.cos() / size, angle.sin() / size, 2 * recipe.shift / images.shape[-1]
    rows = torch.stack([cos, -sin, step * across, sin, cos, step * down], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def loss_of(network: SmallCNN, images: Tensor, labels: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Returns the mean cross-entropy on a batch of digits, plus that on images that are no digits, weighted."""
    digits = moved(images, recipe, rng)
    others = outliers(digits, rng)  # of the moved images: else the network would take sharp pixels for no digit
    logits = network(torch.cat([digits, others]))
    uniform = torch.full((len(others), CLASSES), 1 / CLASSES, dtype=torch.float32)
    of_digits = functional.cross_entropy(logits[: len(digits)], labels)
    return of_digits + recipe.outliers * functional.cross_entropy(logits[len(digits) :], uniform)


def train(parts: dict[str, tuple[Tensor, Tensor]], recipe: Recipe) -> SmallCNN:
    """Returns the network of the epoch with the least loss on validation images.

    The accuracy would choose by one image: in most epochs it is 146 or 147 of 147.
    """
    with building():
        torch.default_generator.manual_seed(recipe.seed)
        network = SmallCNN(CLASSES)
    images, labels = parts["train"]
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * (len(images) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=max(steps, 2))
    least, kept = math.inf, {}
    for epoch in range(recipe.epochs):
        rng = torch_generator(recipe.seed, "digits", epoch)
        network.train()
        for rows in torch.randperm(len(images), generator=rng).split(recipe.batch):
            if len(rows) < recipe.batch:
                continue  # batch normalisation wants a full batch
            loss = loss_of(network, images[rows], labels[rows], recipe, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        accuracy, loss = scores(network, *parts["validation"])
        print(f"epoch {epoch + 1}: validation accuracy {accuracy:.4f}, loss {loss:.4f}", flush=True)
        if loss < least:
            least, kept = loss, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network.eval()


@torch.no_grad()
def scores(network: SmallCNN, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Returns the accuracy in [0, 1], and the mean cross-entropy."""
    logits = network.eval()(images)
    return float((logits.argmax(1) == labels).float().mean()), float(functional.cross_entropy(logits, labels))


def write(network: SmallCNN, path: str | Path) -> None:
    """Writes the weights in half precision."""
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file({name: value.half().contiguous() for name, value in state.items()}, path)


# --- What the network can see ---


def damaged(images: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Returns sets of images made from real ones (B, 1, H, W), in the order that a good network gives them."""
    rng = torch_generator(seed, "damaged")
    return {
        "real": images,
        "slight blur": blurred(images),
        "crossfades": crossfades(images),
        "shuffled patches": shuffled_patches(images, rng),
        "noise": noise(images, rng),
    }


@torch.no_grad()
def check(network: SmallCNN, parts: dict[str, tuple[Tensor, Tensor]], of: str = "validation", to: str = "test") -> None:
    """Prints kernel distances of the images `to` to sets made from the images `of`, for this and a random network."""
    alex = load_backbone("alexnet", "random", 0)
    reference = parts[to][0]
    print(f"{'':17} kernel distance: small_cnn, random alexnet; mean largest probability")
    for name, images in damaged(parts[of][0]).items():
        ours, theirs = (
            metrics.kernel_distance(features(images).numpy(), features(reference).numpy())
            for features in (network.forward_features, alex)
        )
        confidence = network(images).softmax(1).amax(1).mean()
        print(f"{name:17} {ours:11.5f} {theirs:11.3e} {confidence:.3f}")


def main() -> None:
    """Trains or only checks, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="train nothing; print how good the file is")
    use_exact_settings()
    set_threads(1)
    parts = digits()
    if not parser.parse_args().check:
        write(train(parts, Recipe()), DIGITS)
    network = load_small_cnn("digits", seed=0)
    held_out = [torch.cat(pair) for pair in zip(parts["validation"], parts["test"], strict=True)]
    for name, part in {**parts, "all held-out": held_out}.items():
        accuracy, loss = scores(network, *part)
        print(f"{name}: accuracy {accuracy:.4f} on {len(part[0])} images, loss {loss:.4f}")
    check(network, parts)


if __name__ == "__main__":
    main()
