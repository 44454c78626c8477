"""Learning curves and films."""

import imageio.v3 as iio
import numpy as np
import pytest

from armature.errors import ConfigError, RunError
from armature.plots import plot_learning_curve
from armature.recording import BORDER, GREEN, VideoRecorder
from armature.runs import CsvTable


def picture(value=200, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


def table(path, steps, **columns):
    rows = CsvTable(path)
    for index, step in enumerate(steps):
        rows.append({"steps": step, **{name: values[index] for name, values in columns.items()}})


def test_a_learning_curve_is_drawn(tmp_path):
    rise = {"rollout/success_rate": [0.0, 0.5, 0.9], "rollout/return": [-9.0, -5.0, -1.0]}
    table(tmp_path / "metrics.csv", [100, 200, 300], **rise, **{"time/elapsed_s": [1.0, 2.0, 4.0]})
    found = {"success_rate": [0.2, 1.0], "low": [0.1, 0.8], "high": [0.4, 1.0], "mean_return": [-8.0, -1.0]}
    table(tmp_path / "evaluations.csv", [150, 300], **found)
    path = plot_learning_curve(tmp_path)
    assert path == tmp_path / "plots" / "learning_curve.png"
    assert iio.imread(path).shape[0] > 500


def test_a_run_that_reports_no_success_has_a_curve_too(tmp_path):
    table(tmp_path / "metrics.csv", [100, 200], **{"rollout/return": [1.0, 2.0]})
    assert plot_learning_curve(tmp_path).is_file()


def test_a_run_without_tables_has_none(tmp_path):
    with pytest.raises(RunError, match="no curve to draw"):
        plot_learning_curve(tmp_path)


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_film_has_its_frames(tmp_path, suffix):
    path = tmp_path / "videos" / f"film.{suffix}"
    with VideoRecorder(path, fps=20) as video:
        for index in range(10):
            video.add(picture(index * 25), success=index > 5)
    frames = iio.imread(path, plugin="pillow" if suffix == "gif" else "FFMPEG")
    assert len(frames) == video.frames == 10
    assert frames[0].shape[:2] == (48, 64)
    inside = frames[:, BORDER * 2 : -BORDER * 2, BORDER * 2 : -BORDER * 2, :3].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(inside, np.arange(10) * 25, atol=8)
    np.testing.assert_allclose(frames[9, :3, :, :3].mean(axis=(0, 1)), GREEN, atol=20)


@pytest.mark.parametrize("name", ["film.avi", "film", "film.mp4.txt"])
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"must end in \.gif or \.mp4"):
        VideoRecorder(tmp_path / name, fps=20)
    assert not list(tmp_path.iterdir())


def test_an_environment_without_pictures_is_refused(tmp_path):
    with VideoRecorder(tmp_path / "film.gif", fps=20) as video:
        video.add(picture())
        with pytest.raises(ConfigError, match="rgb_array"):
            video.add(None)
