"""The Inception network of the FID, built by the package torch-fidelity, which is an extra of iglo.

The FID (Heusel et al. 2017) is computed with TensorFlow's Inception of 2015-12-05. torch-fidelity has its weights as a
file for torch, and resizes images as TensorFlow did. torchvision's `inception_v3` is another network.

Messages begin with the key `fid_weights`. The caller puts the section before it with `params.validate.within`.
"""

import importlib
import io
from http.client import HTTPException
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from iglo.backbones.backbone import freeze, three_channels
from iglo.backbones.weights import digest_in_name, short_reason
from iglo.errors import UserError
from iglo.files.io import file_digest
from iglo.progress import on_terminal
from iglo.runtime.process import building

DOWNLOAD = "download"
FILE = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"


class InceptionFeatures(nn.Module):
    """Images (B, 1 or 3, H, W) in [0, 1] to the 2048 pooled features (B, 2048) of the FID.

    torch-fidelity takes whole numbers from 0 to 255, so images are rounded to them.
    """

    def __init__(self, extractor: nn.Module):
        super().__init__()
        self.extractor = freeze(extractor)

    def forward(self, images: Tensor) -> Tensor:
        return self.extractor((three_channels(images) * 255).round().to(torch.uint8))[0]


def load_inception_fid(fid_weights: str) -> InceptionFeatures:
    """Loads the Inception of the FID.

    Args:
        fid_weights: `download`, or the path of torch-fidelity's file of weights.

    Raises:
        UserError: torch-fidelity is not installed, or the weights are missing, damaged or of another network.
    """
    package, path = _package(), find_inception_fid(fid_weights)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # torch-fidelity would load the file with whatever code is pickled in it. So it gets a copy of the tensors.
        copy = io.BytesIO()
        torch.save(state, copy)
        copy.seek(0)
        with building():
            extractor = package.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=copy)
    except Exception as error:  # the errors of torch's reader are of many kinds
        raise UserError(
            f"fid_weights: cannot read {str(path)!r} as the weights of the FID's Inception ({short_reason(error)}); "
            "delete the file and set download, or set null."
        ) from None
    return InceptionFeatures(extractor)


def find_inception_fid(fid_weights: str) -> Path:
    """Returns the path of the file of weights; `download` downloads it to torch's cache if it is missing there.

    Raises:
        UserError: torch-fidelity is not installed, or there is no file, or it cannot be downloaded, or the downloaded
            file is damaged.
    """
    _package()
    if fid_weights != DOWNLOAD:
        try:
            if Path(fid_weights).is_file():
                return Path(fid_weights)
        except OSError:  # a name that is too long, or a folder without read permission
            pass
        raise UserError(
            f"fid_weights: there is no file {fid_weights!r}; set download, or null for no FID, or name {FILE} of "
            "torch-fidelity."
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    wanted = digest_in_name(path)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL, str(path), wanted, progress=on_terminal())
        elif not file_digest(path).startswith(wanted):
            raise UserError(f"fid_weights: the file {path} is damaged; delete it and run again, or set null.")
    except (OSError, HTTPException, RuntimeError) as error:
        raise UserError(
            f"fid_weights: the weights of the FID's Inception cannot be downloaded ({short_reason(error)}); connect to "
            f"the network, put the file {URL} into {path.parent}, or set null."
        ) from None
    return path


def _package() -> ModuleType:
    try:
        return importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError:
        raise UserError(
            "fid_weights: needs the package torch-fidelity, which is not installed; run `pip install 'iglo[fid]'`, or "
            "set null."
        ) from None
