"""Checks that this machine has what the runs need: known networks, their weights, and memory."""

import sys
from types import SimpleNamespace

from iglo.backbones.requirements import (
    check_folder,
    check_memory,
    check_networks,
    check_watched,
    param_warnings,
    weight_digests,
)
from iglo.errors import UserError
from iglo.files.io import write_json
from iglo.params.comparison import Comparison
from iglo.params.reading import AnyParams
from stages.common import stage


@stage("passed", "features", "loss", "evaluate", params_type=object)
def main(arguments: SimpleNamespace, params: AnyParams) -> None:
    """Checks networks, weights and sizes, downloads torchvision's weights, and writes digests of the weights files.

    The content of the file `passed` never changes. So a stage that depends on it comes after this one, but does not run
    again if this one does.
    """
    check_memory(params)
    try:
        check_networks(params)
        check_folder(params)
        check_watched(params)
    except UserError as error:
        if not isinstance(params, Comparison):
            raise
        presets = (
            "or take a preset in comparison/: `cp presets/digits.yaml params.yaml` needs no files, and "
            "`cp presets/imagenet.yaml params.yaml` downloads images and weights"
        )
        raise UserError(f"{str(error).rstrip('.')}; {presets}.") from None
    for text in param_warnings(params):
        print(f"warning: {text}", file=sys.stderr)
    for name, files in weight_digests(params).items():
        write_json(getattr(arguments, name), files)
    write_json(arguments.passed, {"passed": True})


if __name__ == "__main__":
    main()
