import re
from pathlib import Path

from curate.decision.rules import compile_rules
from curate.report.data import load_run
from curate.report.keep_rates import rate_charts
from curate.report.write import write_report
from tests.curate import run_dirs


def test_each_comparison_has_a_chart_whose_share_now_is_that_of_the_run(tmp_path: Path):
    root = run_dirs.make_run(tmp_path / "run")
    run = load_run(root)
    charts = rate_charts(run, compile_rules(run_dirs.KEEP, run.clips.schema))
    comparisons = ["luma_change >= …", "luma_mean >= …", "luma_mean <= …", "border_share < …"]
    assert [chart.comparison for chart in charts] == comparisons
    status = run.candidates["status"].to_pylist()
    assert {round(chart.share_now, 9) for chart in charts} == {round(status.count("kept") / len(status), 9)}
    html = write_report(root).read_text(encoding="utf-8")
    assert html.count('aria-label="Kept share over') == len(charts)
    paths = re.findall(r'<path class="kept" d="([^"]*)"', html)
    assert [path.count("L") for path in paths] == [len(chart.points) + 1 for chart in charts]  # none is shortened
