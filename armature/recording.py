"""Films of what a robot does."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from armature.errors import ConfigError
from armature.evaluation import Evaluation, Predictor, evaluate

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

SUFFIXES = (".gif", ".mp4")
BORDER = 6
"""Width of the frame that marks success, in pixels."""
GREEN = (46, 160, 67)


class VideoRecorder:
    """Writes pictures to an mp4 or a gif file; a context manager.

        with VideoRecorder("reach.mp4", fps=20) as video:
            video.add(env.render())

    Args:
        path: the file; its suffix says which format.
        fps: pictures a second when it is played.

    Raises:
        ConfigError: the suffix is of another format, or the file cannot be made.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"cannot record to {path}: the name must end in {' or '.join(SUFFIXES)}.")
        self.frames = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._open(fps)
        except OSError as error:
            raise ConfigError(f"cannot record to {path}: {error.strerror or error}.") from error

    def _open(self, fps: float) -> Any:
        from imageio.v2 import get_writer

        if self.path.suffix.lower() == ".gif":
            return get_writer(self.path, mode="I", duration=1000 / fps, loop=0)
        # yuv420p is what browsers play; it needs even sides, and a macro block of 2 changes the size no further.
        return get_writer(self.path, mode="I", fps=fps, macro_block_size=2, pixelformat="yuv420p")

    def add(self, picture: np.ndarray | None, success: bool = False) -> None:
        """Add a picture (height, width, 3) of uint8, in a green frame if the task is done."""
        if picture is None:
            raise ConfigError("the environment gave no picture; make it with render_mode 'rgb_array'.")
        frame = np.array(picture[..., :3], dtype=np.uint8)
        if success:
            for edge in (frame[:BORDER], frame[-BORDER:], frame[:, :BORDER], frame[:, -BORDER:]):
                edge[...] = GREEN
        self._writer.append_data(frame)
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()

    def __enter__(self) -> VideoRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def film(model: Predictor, env: VecEnv, path: str | Path, episodes: int, deterministic: bool = True) -> Evaluation:
    """Evaluate a policy as `armature.evaluation.evaluate` does and film it.

    Args:
        model: chooses the actions.
        env: one environment, made with render_mode `rgb_array`.
        path: the file to write.
        episodes: number of episodes, at least 1.
        deterministic: whether the policy takes its most likely action.
    """
    fps = env.get_attr("metadata")[0].get("render_fps", 30)
    with VideoRecorder(path, fps) as video:

        def add(infos: Any, dones: np.ndarray) -> None:
            # At an episode's end the environment has begun the next one already, so its picture belongs to that.
            success = bool(infos[0].get("is_success")) and not dones[0]
            video.add(env.env_method("render")[0], success)

        return evaluate(model, env, episodes, deterministic, on_step=add)
