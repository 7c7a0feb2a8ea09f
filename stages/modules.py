"""Writes which modules each stage of a pipeline runs, with a digest of each."""

from types import SimpleNamespace

from iglo.errors import UserError
from iglo.files.io import file_digest, whole_folder, write_json
from iglo.params.reading import AnyParams
from stages.common import stage
from stages.imports import ROOT, code_of, module_file, stages_of


@stage("pipeline", "out", params_type=object)
def main(arguments: SimpleNamespace, params: AnyParams) -> None:
    """Writes a file `NAME.json` to the folder `--out` for each module stages.NAME that a dvc.yaml runs.

    `--pipeline` is the path of this dvc.yaml from the root of the project.

    The file names the modules that the stage imports, directly or not, with the SHA-256 of each. A stage depends on its
    file. So after an edit only the stages that import the edited module run again.
    """
    modules = stages_of((ROOT / arguments.pipeline).read_text(encoding="utf-8"))
    for module in modules:
        if module_file(module) is None:
            raise UserError(f"{arguments.pipeline}: there is no module {module}; correct its name.")
    try:
        code = {module: sorted(code_of(module)) for module in modules}
    except SyntaxError as error:
        raise UserError(f"{error.filename}: is not Python ({error.msg}, line {error.lineno}).") from None
    with whole_folder(arguments.out) as folder:
        for module, paths in code.items():
            digests = {path: file_digest(ROOT / path) for path in paths}
            write_json(folder / f"{module.removeprefix('stages.')}.json", digests)


if __name__ == "__main__":
    main()
