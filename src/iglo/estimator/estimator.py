"""The whole method as one scikit-learn transformer for images in memory.

`transform` is the encoder, `inverse_transform` the generator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from iglo.estimator.conventions import as_rows, mean_square, seed_of, unchanged_if_failed, value_errors
from iglo.estimator.image_adapter import ImageAdapter
from iglo.estimator.learned import Learned
from iglo.estimator.settings import Settings
from iglo.export.inputs import check_whole
from iglo.export.writing import write_bundle
from iglo.models.history import History
from iglo.params.run_record import Provenance
from iglo.progress import quiet
from iglo.runtime.process import library_call


class IncrementalGLO(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Incremental generative latent optimization: a code for every image, a generator, and an encoder.

    It learns one code per training image together with a convolutional generator. It starts with a few images that
    represent the others, and then takes more and more. Noise on the codes makes the generator continuous. At the end,
    an encoder learns to find the code of an image. `fit` learns all images at once; `partial_fit` learns images that
    arrive later, when it would cost too much to learn all anew, or when earlier images are no longer there.

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
            number of numpy's global generator, as everywhere in scikit-learn. `partial_fit` goes on with that of `fit`.
        verbose: print the losses at the end of every stage, and show progress bars in a terminal.

    Attributes:
        codes_: (n, n_components) float32, the learned code of each training image, in the order in which they came.
            `transform` gives the codes that the encoder finds, also for training images.
        reconstruction_error_: mean squared error of the generator's images of the learned codes, in squared units of
            X, over the images of the last call of `fit` or `partial_fit`.
        subset_sizes_: how many images each subset has, in all calls.
        history_: losses, a dict per stage and epoch, in all calls.
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
        with self._fitting():
            settings, seed = Settings.of(self), seed_of(self.random_state)
            rows, item_shape = self._rows(X, reset=True)
            adapter = ImageAdapter.of(rows, item_shape, self.image_shape, self.value_range)
            learned, history = Learned.fit(rows, adapter, settings, seed, self.verbose)
            self._set_attributes(learned, history, rows)
        return self

    def partial_fit(self, X: ArrayLike, y: None = None) -> "IncrementalGLO":
        """Learns images X that arrive after those of earlier calls, which need not be there; y is not used.

        The first call is `fit`. In a later call the generator learns new images, and keeps the earlier ones: what it
        rendered of their codes is replayed, and what it renders of codes between them. A step has 32 new images and 64
        replayed ones. For this the estimator keeps a render of each image from then on. Then the encoder learns
        further, and the prior is fitted to all codes. The numbers of passes follow from those of `fit`, and each
        training takes at least 100 steps. A call may have a single image.

        Codes of earlier images stay the same, bit for bit; their renders change a little. Image shape, value range and
        seed are those of the first fit, and values outside the range are clipped. If a call fails, nothing changes.

        Raises:
            ValueError: X or an argument is wrong, an argument that decides the size of the model has changed since
                `fit`, or training failed.
        """
        if not hasattr(self, "_learned"):
            return self.fit(X)
        with self._fitting():
            settings, (rows, _) = Settings.of(self), self._rows(X)
            learned, history = self._learned.partial_fit(rows, settings, self.verbose)
            self._set_attributes(learned, history, rows, (self.subset_sizes_, self.history_))
        return self

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        with unchanged_if_failed(self), value_errors(), quiet(not self.verbose), library_call(self.precision):
            yield

    def _set_attributes(
        self, learned: Learned, history: History, rows: np.ndarray, before: tuple[list, list] = ([], [])
    ) -> None:
        """Sets the attributes of a fitted estimator.

        Args:
            history: that of the samples `rows` (n, F).
            before: subset sizes and log of earlier calls.
        """
        codes, adapter, (sizes, log) = learned.model.codes.values.cpu().numpy().copy(), learned.adapter, before
        self._learned, self.codes_ = learned, codes
        self.image_shape_, self.value_range_ = adapter.image_shape, (adapter.low, adapter.high)
        self.subset_sizes_ = [*sizes, *np.bincount(history.subset_id)[1:].tolist()]
        self.history_ = [*log, *history.log]
        self.reconstruction_error_ = mean_square(learned.decode(codes[-len(rows) :]), rows)

    @library_call()
    def transform(self, X: ArrayLike) -> np.ndarray:
        """Computes the encoder's codes of images, (n, n_components) float32.

        `fit_transform` gives the same codes for the training images. Their learned codes are in `codes_`.
        """
        check_is_fitted(self)
        with value_errors():
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
        with value_errors():
            check_whole("n_samples", n_samples, 1)
        seed = self._learned.seed if random_state is None else seed_of(random_state)
        return self.inverse_transform(self._learned.draw(int(n_samples), seed))

    def score(self, X: ArrayLike, y: None = None) -> float:
        """Returns minus the mean squared error of images that go through encoder and generator, in squared units of X.

        y is not used.
        """
        check_is_fitted(self)
        return -mean_square(self.inverse_transform(self.transform(X)), self._rows(X)[0])

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
        with value_errors():
            provenance = Provenance.of(learned.params, test=0)
            write_bundle(path, learned.model, self.history_, learned.prior, provenance, arrivals=learned.arrivals)

    def _rows(self, X: ArrayLike, reset: bool = False) -> tuple[np.ndarray, tuple[int, ...]]:
        """Returns X as rows (n, values), and the shape of each image in X."""
        X, item_shape, dtype = as_rows(X)
        rows = validate_data(self, X, reset=reset, dtype=dtype, ensure_min_samples=2 if reset else 1)
        if item_shape and not reset:
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
