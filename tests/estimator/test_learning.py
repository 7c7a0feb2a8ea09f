"""What is learned: the model of the pipeline, also at 128 pixels, and digits that come back."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from iglo.data.store import ImageStore
from iglo.estimator.learning import learn_model
from iglo.latent.priors import fit_prior
from iglo.models.glo import GLOModel, encode, render
from iglo.models.history import History
from iglo.params.reading import load_params
from iglo.runtime.device import start
from tests.estimator.quick import DIGITS, quick
from tests.tiny import generator, rounds_of, same_bits, tiny_images, tiny_params


def test_the_estimator_learns_what_the_pipeline_learns(tiny_run):
    """The same images and params give the same bits as the model at the end of all stages."""
    params = load_params(tiny_run.folder / "params.yaml")
    runtime = start(params.precision)
    images = ImageStore.open(tiny_run.folder / "data" / "prepared").train
    folder = tiny_run.folder / "models" / "joint"
    (model, history), wanted = learn_model(images, params, runtime), History.load(folder)
    assert same_bits(dict(model.state_dict()), dict(GLOModel.load(folder, runtime).state_dict()))
    assert history.log == wanted.log and np.array_equal(history.subset_id, wanted.subset_id)


def test_classic_glo_runs_at_128_pixels():
    """The CelebA preset, narrowed: squared error, codes on a sphere of radius 1, as learned, encoded and drawn."""
    params = tiny_params(
        "presets/celeba.yaml",
        **{"data__image_size": 128, "data__channels": 3, "generator__width": 1, "encoder__width": 1},
        **{"rounds": rounds_of(1), "latent__radius": 1.0, "joint__epochs": 1, "features__network": "pixels"},
    )
    assert (params.loss.name, params.latent.constraint) == ("l2", "sphere")
    images = tiny_images(14, channels=3).repeat(8, axis=1).repeat(8, axis=2)
    runtime = start(params.precision)
    model, _ = learn_model(images, params, runtime)
    encoded = encode(model.encoder, images, model.config, runtime)
    drawn = fit_prior("gaussian", model.codes.values, model.config.geometry(), 0).draw(4, generator())
    for codes in (model.codes.values, encoded, drawn):
        torch.testing.assert_close(codes.norm(dim=1).cpu(), torch.ones(len(codes)), rtol=0, atol=1e-5)
    assert render(model.generator, drawn, runtime).shape == (4, 128, 128, 3)


def test_it_learns_the_digits_and_those_that_arrive_later():
    """Images through the encoder: unseen ones are better than the mean image, learned ones than two PCA components."""
    train, test, later = DIGITS[:300], DIGITS[300:500], DIGITS[500:530]
    epochs = {"epochs": 10, "subset_epochs": 4, "encoder_epochs": 12, "joint_epochs": 5}
    model = quick(n_components=16, width=8, **epochs).fit(train)
    pca = PCA(2).fit(train)
    pca_error = np.mean((pca.inverse_transform(pca.transform(train)) - train) ** 2)
    mean_error = np.mean((train.mean(0) - test) ** 2)

    assert model.reconstruction_error_ < pca_error / 2
    assert -model.score(train) < pca_error and -model.score(test) < mean_error / 2

    unseen, kept, encoded = model.score(later), model.reconstruction_error_, model.score(train)
    model.set_params(n_subsets=1).partial_fit(later)
    assert model.reconstruction_error_ < kept and model.score(later) > unseen / 2
    assert np.mean((model.inverse_transform(model.codes_[:300]) - train) ** 2) < 1.2 * kept
    assert model.score(train) > 1.2 * encoded
