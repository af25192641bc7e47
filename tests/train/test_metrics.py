import json

from train.metrics import MetricsConfig, MetricsWriter, StepReport, read_reports


def report(step: int) -> StepReport:
    return StepReport(
        step, 0.5, {"level": [0.25, None]}, 1e-3, 2.0, 0.01, 0.1, 160.0, 640.0, 0.3, 500.0, step / 10, False
    )


def test_reports_are_read_back(tmp_path):
    writer = MetricsWriter(MetricsConfig(tensorboard=False), tmp_path, 0)
    writer.write([report(1), report(2)])
    writer.close()
    assert read_reports(tmp_path) == [report(1), report(2)]


def test_after_a_resume_every_step_stands_once(tmp_path):
    MetricsWriter(MetricsConfig(tensorboard=False), tmp_path, 0).write([report(step) for step in (1, 2, 3)])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # torn by a kill
    MetricsWriter(MetricsConfig(tensorboard=False), tmp_path, 2).write([report(3)])
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_tensorboard_gets_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = MetricsWriter(MetricsConfig(), tmp_path, 0)
    writer.write([report(1), report(2)])
    writer.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("train/loss")] == [0.5, 0.5]
    assert [event.step for event in events.Scalars("loss_by_level/0")] == [1, 2]
