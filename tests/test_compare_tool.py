"""The comparison without DVC: the stages that tools/compare.py reads, and how it runs them."""

import multiprocessing

import pytest
import yaml

from tests import pipeline
from tools.compare import Runner, in_order, longest_chains, main, module_and_argv
from tools.dvc_stages import Stage, prerequisites, read_stages

FILE = pipeline.ROOT / "comparison" / "dvc.yaml"


def test_the_stages_are_those_that_dvc_resolves():
    params = yaml.safe_load((FILE.parent / "params.yaml").read_text(encoding="utf-8"))
    ours, dvcs = (
        {stage.name: stage for stage in found} for found in (read_stages(FILE, params), pipeline.stages(FILE))
    )
    assert ours.keys() == dvcs.keys()
    for name, stage in ours.items():
        assert stage.command.split() == dvcs[name].cmd.split()
        assert {f"comparison/{out}" for out in stage.outs} == set(dvcs[name].outs)
        deps = {path.removeprefix("comparison/") for path in dvcs[name].deps}
        assert {path.removeprefix("../") for path in stage.deps} == deps


def test_a_stage_waits_for_those_that_make_its_dependencies():
    stages = [Stage("a", "", (), ("runs/x",)), Stage("b", "", ("runs/x/1",), ("y",)), Stage("c", "", ("runs", "y"), ())]
    before = prerequisites(stages)
    assert before == {"a": set(), "b": {"a"}, "c": {"a", "b"}}
    assert longest_chains(before) == {"a": 1, "b": 2, "c": 3}


def test_a_run_that_has_begun_is_finished_first():
    params = yaml.safe_load((FILE.parent / "params.yaml").read_text(encoding="utf-8"))
    stages = read_stages(FILE, params)
    names = [stage.name for stage in in_order(stages, prerequisites(stages))]
    place = {name: names.index(name) for name in names}
    assert place["measure@continuity-2"] < place["encode@glo-0"] < place["learn@glo-0"] < place["learn@paper_as_run-0"]


SCRIPT = """
import sys
from pathlib import Path

def main(argv):
    options = dict(zip(argv[::2], argv[1::2]))
    print("params", options["--params"])
    if Path(options["--out"]).name == "bad":
        sys.exit("error: it does not work")
    Path(options["--out"]).write_text("done")
"""


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """A folder, and a function that makes the runner of stages that write a file of their name."""
    (tmp_path / "written_for_a_test.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("tools.compare._context", lambda modules: multiprocessing.get_context("spawn"))

    def runner(**deps: tuple[str, ...]) -> Runner:
        command = "cd .. && python -m written_for_a_test --out comparison/{} --params comparison/params.yaml"
        stages = [Stage(name, command.format(name), needs, (name,)) for name, needs in deps.items()]
        return Runner(stages, tmp_path / "my.yaml", tmp_path)

    return tmp_path, runner


def test_results_that_exist_are_not_made_again(scripted, capsys):
    folder, runner = scripted
    assert runner(a=(), b=("a",)).run(2) == 0
    assert (folder / "b").read_text() == "done"
    assert (folder / "runs/logs/a.txt").read_text().split() == ["params", str(folder / "my.yaml")]
    (folder / "a").write_text("kept")
    assert runner(a=(), b=("a",), c=("b",)).run(1) == 0
    assert (folder / "a").read_text() == "kept" and (folder / "c").exists()
    assert "2 stages are done already" in capsys.readouterr().out


def test_a_failure_is_shown_and_ends_the_run(scripted, capsys):
    folder, runner = scripted
    assert runner(bad=(), later=("bad",)).run(2) == 1
    assert not (folder / "later").exists()
    assert "bad has FAILED" in (shown := capsys.readouterr().out) and "error: it does not work" in shown


def test_the_command_names_a_module_and_its_arguments():
    stage = Stage("x", "cd .. && python -m stages.fetch --out a --params b", (), ())
    assert module_and_argv(stage) == ("stages.fetch", ["--out", "a", "--params", "b"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.yaml"], "none.yaml: cannot read the params file"),
        ([str(pipeline.ROOT / "params.yaml")], "error: "),  # of a run, not of a comparison
        ([str(FILE.parent / "params.yaml"), "--folder", "file"], "--folder: cannot make the folder"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert words in shown.err and shown.err.count("\n") == 1 and not shown.out


@pytest.mark.parametrize("jobs", ["0", "-3", "many"])
def test_a_number_of_jobs_is_positive(jobs, capsys):
    with pytest.raises(SystemExit):
        main(["--jobs", jobs])
    assert "--jobs: " in capsys.readouterr().err
