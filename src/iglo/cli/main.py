"""The command `iglo`: a trained model on the command line, and new images for it.

A user's mistake is one sentence on stderr and exit code 2. torch takes seconds to import. Therefore a command imports
it only when it runs, and --help answers at once.
"""

import click

import iglo
from iglo.cli.arrive import arrive
from iglo.cli.draw import decode, interpolate, sample, walk
from iglo.cli.explore import explore
from iglo.cli.group import Commands
from iglo.cli.images import convert, encode, neighbours, reconstruct
from iglo.cli.model import export, info


@click.group(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(iglo.__version__)
def main() -> None:
    """Use a trained model.

    Give images as folders, files or patterns such as 'frogs/*.png'. The name after --out decides what is written: a
    folder of image files, one .png with all of them, a .gif, or an array .npy. A line on stdout says what was written.

    \b
    Example:
      iglo export
      iglo sample --count 64 --out samples.png
    """


for command in (
    sample,
    encode,
    decode,
    reconstruct,
    interpolate,
    walk,
    neighbours,
    convert,
    info,
    export,
    arrive,
    explore,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
