"""Decodes, crops and splits the images."""

from types import SimpleNamespace

from iglo.data.prepare import write_store
from iglo.data.sources import open_source
from iglo.params.pipeline import Params
from iglo.params.reading import check_image_count
from stages.common import stage


@stage("raw", "out", optional=("digests",))
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Decodes, crops and splits the images, and writes them into one folder of arrays. Lists their digests if asked."""
    source = open_source(params.data, arguments.raw)
    check_image_count(arguments.params, len(source.names))
    count = write_store(source, params.data, arguments.out, arguments.digests)
    check_image_count(arguments.params, count)  # again, because unreadable images may have been left out
    return count


if __name__ == "__main__":
    main()
