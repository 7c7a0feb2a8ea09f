"""Whether this machine has what the runs need: known networks, their weights, and memory."""

import sys
from types import SimpleNamespace

from iglo.errors import UserError
from iglo.files import write_json
from iglo.needs import check_memory, check_networks, remarks, weights_on_record
from iglo.params import AnyParams, Comparison
from stages.common import stage


@stage("passed", "features", "loss", "evaluate", kind=object)
def main(arguments: SimpleNamespace, params: AnyParams) -> None:
    """Downloads torchvision's weights, checks all weights and sizes, and records which weights each part uses.

    `passed` holds the same whatever the params are: stages that depend on it come after this one, and do not run again.
    """
    check_memory(params)
    try:
        check_networks(params)
    except UserError as error:
        if not isinstance(params, Comparison):
            raise
        presets = "presets/digits.yaml needs no file of weights, and presets/imagenet.yaml downloads them"
        raise UserError(f"{str(error).rstrip('.')}; or take a preset of the comparison: {presets}.") from None
    for remark in remarks(params):
        print(f"warning: {remark}", file=sys.stderr)
    for name, record in weights_on_record(params).items():
        write_json(vars(arguments)[name], record)
    write_json(arguments.passed, {"passed": True})


if __name__ == "__main__":
    main()
