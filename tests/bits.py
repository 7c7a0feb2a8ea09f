"""The bits of everything that BLAS, OpenMP and torch compute with several threads, as one line of hashes.

Run by itself it prints them, so that processes with other variables can be compared: python -m tests.bits
"""

import hashlib

import numpy as np

from iglo.evaluation import metrics
from iglo.latent.priors import fit_prior
from iglo.models.codes import pca_codes
from iglo.models.geometry import make_geometry
from iglo.runtime.device import start
from iglo.subsets.clustering import fit_kmeans, fit_pca
from iglo.training.glo_stages import learn_all, start_model
from iglo.training.trainer import Trainer
from tests.tiny import generator, tiny_images, tiny_params

DIMENSION = 24


def bits() -> str:
    """Computes PCA starts, clusters, a mixture, a Fréchet distance and a short training, as a stage does."""
    runtime = start("fp32")
    images = tiny_images(400)
    geometry = make_geometry("sphere", None, DIMENSION)
    codes = pca_codes(images, DIMENSION, geometry, generator())
    points = fit_pca((images / 255).reshape(len(images), -1).astype(np.float32), DIMENSION, 0)
    labels, centroids = fit_kmeans(points, 8, 0, 20_000)
    mixture = fit_prior("gmm", codes, geometry, 0).arrays
    distance = metrics.frechet_distance(points, points[::2])
    params = tiny_params(latent__dimension=DIMENSION, full__epochs=1)
    model, history = start_model(images[:40], params, runtime)
    learn_all(Trainer(model, images[:40], history, params, runtime))
    arrays = [codes, points, labels, centroids, *mixture.values(), distance, model.codes.values]
    return " ".join(hashlib.blake2b(np.asarray(array).tobytes(), digest_size=4).hexdigest() for array in arrays)


if __name__ == "__main__":
    print(bits())
