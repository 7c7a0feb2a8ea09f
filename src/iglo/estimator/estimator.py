"""The whole method as one scikit-learn transformer for images in memory.

`transform` is the encoder, `inverse_transform` the generator.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from iglo.data.user_images import in_one_array
from iglo.errors import UserError
from iglo.estimator.image_adapter import ImageAdapter
from iglo.estimator.learned import Learned
from iglo.estimator.learning import learn_model
from iglo.estimator.settings import Settings
from iglo.export.inputs import check_whole
from iglo.export.writing import fit_model_prior, write_bundle
from iglo.params.run_record import Provenance
from iglo.progress import quiet
from iglo.runtime.device import runtime_on
from iglo.runtime.process import library_call

DTYPES = (np.float64, np.float32, np.uint8)  # accepted types of X; anything else is converted to the first


class IncrementalGLO(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Incremental generative latent optimization: a code for every image, a generator, and an encoder.

    It learns one code per training image together with a convolutional generator. It starts with a few images that
    represent the others, and then takes more and more. Noise on the codes makes the generator continuous. At the end,
    an encoder learns to find the code of an image.

    X has images (n, height, width) or (n, height, width, channels), or rows of values (n, features). An image has at
    most 128×128 pixels, and 1 or 3 channels. X is an array, a torch tensor, a list of either, or a data frame of rows.
    The networks work on squares of 16, 32, 64 or 128 pixels in 8 bits. A smaller image is enlarged by a whole factor
    and padded by repeating its edge. Results have the shape of X again.

    Args:
        n_components: length of a code.
        n_subsets: largest number of subsets in which the images are learned; few images make fewer. 1 with `sigma` 0
            is plain GLO.
        subset_epochs: passes over each subset while it is learned.
        epochs: passes over all images after that, with noise.
        encoder_epochs: passes of the encoder alone.
        joint_epochs: passes of encoder and generator together.
        sigma: standard deviation of the noise, per coordinate of a code. A coordinate has a variance of about 1. With
            more noise, images between two codes look more real, but reconstructions are less exact.
        constraint: where codes may lie: `sphere` or `ball` of radius √n_components, or `none`.
        init: where codes start: `pca` (principal components of the images) or `normal`.
        loss: `l1`, `l2`, `l1_l2` (their sum), `lap_l1` (Laplacian pyramid) or `perceptual`.
        loss_network, loss_weights: for the perceptual loss: the name of a torchvision VGG, and `imagenet`, `random` or
            a .safetensors file.
        network: kind of generator: `dcgan`, or `style`, with upsampling, modulated convolutions and no batch norm.
        width: channels of the networks' blocks next to the image. Blocks further from the image have more.
        batch_size: images in a step.
        learning_rate: learning rate of the networks; the joint epochs use half of it.
        code_learning_rate: learning rate of the codes.
        prior: how new codes are drawn: `normal`, or a model fitted to the learned codes: `gaussian_diag`,
            `gaussian`, `gmm` (a mixture; the number of components by BIC), `imle` (a mapping from noise to codes),
            `neighbours` (a point between a code and one of its 5 nearest, plus noise of 0.1 per coordinate) or `flow`
            (a flow from noise to codes).
        image_shape: (height, width) or (height, width, channels) of the images if X has rows. None: a square of 1
            or 3 channels if the number of values allows it; else the values fill part of the next larger square.
        value_range: (low, high), the values of black and white; values outside are clipped. None: (0, 255) if X is
            uint8, else the smallest and the largest value in the training set.
        precision: `fp32`, or `bf16`, which is several times faster on recent processors and GPUs.
        random_state: an int makes every run the same, bit for bit, on the same machine and device. None: the next
            number of numpy's global generator, as everywhere in scikit-learn.
        verbose: print the losses at the end of every stage, and show progress bars in a terminal.

    Attributes:
        codes_: (n, n_components) float32, the learned code of each training image. `transform` gives the codes that
            the encoder finds, also for training images.
        reconstruction_error_: mean squared error of the generator's images of `codes_`, in squared units of X.
        subset_sizes_: how many images each subset has.
        history_: losses, a dict per stage and epoch.
        image_shape_: (height, width, channels).
        value_range_: (low, high).
        n_features_in_: values in an image.
        feature_names_in_: (n_features_in_,) the columns, if X was a data frame.

    The device is the first GPU if there is one, unless the environment variable IGLO_DEVICE names another.

    References:
        Yuval Helman, Jakov Zingerman, Ran Schreiber: Improving the GLO learning process. Tel Aviv University, August
        2019.
        Piotr Bojanowski, Armand Joulin, David Lopez-Paz, Arthur Szlam: Optimizing the Latent Space of Generative
        Networks. 2017, arXiv:1707.05776.
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        n_subsets: int = 3,
        subset_epochs: int = 20,
        epochs: int = 60,
        encoder_epochs: int = 60,
        joint_epochs: int = 20,
        sigma: float = 0.5,
        constraint: str = "sphere",
        init: str = "pca",
        loss: str = "l1_l2",
        loss_network: str = "vgg16",
        loss_weights: str = "imagenet",
        network: str = "dcgan",
        width: int = 32,
        batch_size: int = 75,
        learning_rate: float = 1e-3,
        code_learning_rate: float = 5e-2,
        prior: str = "gaussian",
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        precision: str = "fp32",
        random_state: int | RandomState | None = None,
        verbose: bool = False,
    ):
        self.n_components = n_components
        self.n_subsets = n_subsets
        self.subset_epochs = subset_epochs
        self.epochs = epochs
        self.encoder_epochs = encoder_epochs
        self.joint_epochs = joint_epochs
        self.sigma = sigma
        self.constraint = constraint
        self.init = init
        self.loss = loss
        self.loss_network = loss_network
        self.loss_weights = loss_weights
        self.network = network
        self.width = width
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.code_learning_rate = code_learning_rate
        self.prior = prior
        self.image_shape = image_shape
        self.value_range = value_range
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: None = None) -> "IncrementalGLO":
        """Learns codes, generator and encoder from images X; y is not used.

        Raises:
            ValueError: X or an argument is wrong, or training failed.
        """
        with _value_errors(), quiet(not self.verbose), library_call(self.precision):
            settings, seed = Settings.of(self), _seed(self.random_state)
            rows, item_shape = self._rows(X, reset=True)
            adapter = ImageAdapter.of(rows, item_shape, self.image_shape, self.value_range)
            params = settings.params(len(rows), adapter.side, adapter.channels, seed)
            runtime = runtime_on(None, params.precision)
            model, history = learn_model(adapter.to_images(rows), params, runtime, self.verbose)
            prior = fit_model_prior(params.prior, model, seed)
        self._learned = Learned(model, prior, adapter, settings, seed, runtime)
        self.codes_ = model.codes.values.cpu().numpy().copy()
        self.image_shape_ = adapter.image_shape
        self.value_range_ = (adapter.low, adapter.high)
        self.subset_sizes_ = np.bincount(history.subset_id)[1:].tolist()
        self.history_ = history.log
        self.reconstruction_error_ = _mean_square(self.inverse_transform(self.codes_), rows)
        return self

    @library_call()
    def transform(self, X: ArrayLike) -> np.ndarray:
        """Computes the encoder's codes of images, (n, n_components) float32.

        `fit_transform` gives the same codes for the training images. Their learned codes are in `codes_`.
        """
        check_is_fitted(self)
        with _value_errors():
            return self._learned.encode(self._rows(X)[0])

    @library_call()
    def inverse_transform(self, Z: ArrayLike) -> np.ndarray:
        """Renders codes (n, n_components) as images of the shape in `fit`, uint8 if those were uint8, else float32.

        Codes are first projected to where codes may lie: the mean of two codes on a sphere goes back to the sphere.
        """
        check_is_fitted(self)
        codes = check_array(Z, dtype=np.float32, input_name="Z", estimator=self)
        dimension = self._learned.dimension
        if codes.shape[1] != dimension:
            raise ValueError(f"Z: must have {dimension} columns, the length of a code, got {codes.shape[1]}.")
        return self._learned.decode(codes)

    @library_call()
    def sample(self, n_samples: int = 1, random_state: int | RandomState | None = None) -> np.ndarray:
        """Draws new images, in the form that `inverse_transform` gives.

        Args:
            random_state: None: the one of `fit`, so that the same images come every time.
        """
        check_is_fitted(self)
        with _value_errors():
            check_whole("n_samples", n_samples, 1)
        seed = self._learned.seed if random_state is None else _seed(random_state)
        return self.inverse_transform(self._learned.draw(int(n_samples), seed))

    def score(self, X: ArrayLike, y: None = None) -> float:
        """Returns minus the mean squared error of images that go through encoder and generator, in squared units of X.

        y is not used.
        """
        check_is_fitted(self)
        return -_mean_square(self.inverse_transform(self.transform(X)), self._rows(X)[0])

    @library_call()
    def export(self, path: str | Path) -> None:
        """Writes the model as a folder for `iglo.load` and for the command `iglo`.

        Both take and return images as the networks see them: enlarged and padded to a square, in 8 bits.

        Raises:
            ValueError: there is something at `path` already.
        """
        check_is_fitted(self)
        if Path(path).exists():
            raise ValueError(f"path: must be that of a new folder, and {path} exists; name another or remove it.")
        learned = self._learned
        with _value_errors():
            write_bundle(path, learned.model, self.history_, learned.prior, Provenance.of(learned.params, test=0))

    def _rows(self, X: ArrayLike, reset: bool = False) -> tuple[np.ndarray, tuple[int, ...]]:
        """Returns X as rows (n, values), and the shape of each image in X."""
        X = in_one_array(X)
        images = getattr(X, "ndim", None) in (3, 4)
        item_shape = tuple(X.shape[1:]) if images else None
        X = X.reshape(len(X), math.prod(item_shape)) if images else X
        dtype = np.uint8 if np.asarray(X).dtype == np.uint8 else DTYPES  # sklearn may not find a data frame's type
        rows = validate_data(self, X, reset=reset, dtype=dtype, ensure_min_samples=2 if reset else 1)
        if images and not reset:
            self._learned.adapter.check_shape(item_shape)
        return rows, item_shape or rows.shape[1:]

    @property
    def _n_features_out(self) -> int:
        return self._learned.dimension

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Returns plain values, arrays and the bytes of safetensors files."""
        state = super().__getstate__()
        return state | {"_learned": self._learned.packed()} if "_learned" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_learned" in state:
            learned = Learned.unpacked(state["_learned"], state["codes_"])
            state = state | {"_learned": learned}
        super().__setstate__(state)


def _seed(random_state: Any) -> int:
    """Returns the seed of the pipeline: an int as it is, else the next number of the generator, as in scikit-learn."""
    generator = check_random_state(random_state)
    return int(random_state) if isinstance(random_state, Integral) else int(generator.randint(2**31 - 1))


def _mean_square(images: np.ndarray, rows: np.ndarray) -> float:
    return float(np.mean((images.reshape(rows.shape).astype(np.float64) - rows) ** 2))


@contextmanager
def _value_errors() -> Iterator[None]:
    """Raises the library's errors as ValueError, which users of scikit-learn expect."""
    try:
        yield
    except UserError as error:
        raise ValueError(str(error)) from None
