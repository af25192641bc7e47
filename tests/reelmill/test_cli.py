"""The command from outside: exit codes, one-line errors, and a start that loads nothing heavy."""

import json
import subprocess
import sys

import pytest

from reelmill.cli import run

HEAVY = ("torch", "ray", "webdataset", "av", "cv2", "pyarrow", "transformers", "matplotlib")


def test_help_imports_nothing_heavy():
    code = (
        "import json, sys\n"
        "from reelmill.cli import run\n"
        "run(['curate', 'run', '--help'])\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize(
    "command",
    [
        *(["curate", name] for name in ("plan", "run", "decide", "report", "what-if", "explain", "forecast", "retry")),
        *(["shards", name] for name in ("ls", "show", "plan", "verify", "publish", "diff", "withdraw", "compact")),
        *(["shards", name] for name in ("gc", "schema", "export", "push", "import")),
        *(["train", name] for name in ("plan", "fit", "page", "export", "sample")),
        ["toyworld", "make"],
        ["toyworld", "captioner"],
        ["bench"],
        ["doctor"],
        ["demo"],
    ],
)
def test_every_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]):
    assert run([*command, "--help"]) == 0
    assert "Example: " in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error_with_the_nearest_name(capsys: pytest.CaptureFixture[str]):
    assert run(["curate", "rnu"]) == 2
    assert "Did you mean 'run'?" in capsys.readouterr().err


def test_a_typo_in_an_override_is_one_line_that_names_the_key(capsys: pytest.CaptureFixture[str]):
    assert run(["curate", "plan", "curate/scan_only", "--set", "scenes.min_clip=3"]) == 2
    error = capsys.readouterr().err
    assert "scenes.min_clip is not a known key; did you mean min_clip_s?" in error
    assert error.count("\n") == 1


def test_a_rule_over_an_unknown_column_names_the_nearest_one(capsys: pytest.CaptureFixture[str]):
    assert run(["curate", "plan", "curate/scan_only", "--set", "keep.motion=flow_mgg >= 1"]) == 2
    assert "flow_mag" in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused_before_anything_is_read(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
):
    assert run(["curate", "decide", str(tmp_path_factory.mktemp("empty"))]) == 2
    assert "holds no catalog" in capsys.readouterr().err


def test_the_plan_names_steps_columns_and_rules(capsys: pytest.CaptureFixture[str]):
    assert run(["curate", "plan", "curate/scan_only"]) == 0
    printed = capsys.readouterr().out
    for step in ("ingest", "keyframes", "scan", "scenes", "motion", "light", "borders", "decide", "pack"):
        assert step in printed
    assert "flow_mag" in printed
    assert "rule  duplicate: NOT is_duplicate" in printed
