"""Environments that do harm to themselves and to their process.

Tests name this file in `plugins`; importing it registers `fragile/Arm-v0`.
"""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces


def raise_an_error():
    raise RuntimeError("a joint came off")


def hold_the_interpreter():
    ctypes.PyDLL(None).sleep(1000)


HARM = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": lambda: time.sleep(1000),
    "hang in C": hold_the_interpreter,
    "raise": raise_an_error,
}


class Arm(gymnasium.Env):
    """Episodes of 8 to 12 steps; what is seen and rewarded depends on the seed and all actions of the episode.

    Every `at`, such as "step 5" or "reset" or "first reset", does harm while there are files in a folder, and takes
    one of them away; at the same place of the same episode it does so once. A harm that lasts is done every time.
    """

    observation_space, action_space = spaces.Box(-10, 10, (2,)), spaces.Box(-1, 1, (1,))

    def __init__(self, folder=None, how="kill", at="step 5", lasts=False, takes_s=0.0, render_mode=None):
        self.folder, self.how, self.at, self.lasts, self.takes_s = folder, how, at, lasts, takes_s
        self.resets = 0
        self.note = "written by __init__"

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.total = 0, 0.0
        self.last = int(self.np_random.integers(8, 13))
        self.resets += 1
        self.may_do_harm("first reset" if self.resets == 1 else "reset")
        return self.observe(), {"length": self.last}

    def step(self, action):
        time.sleep(self.takes_s)
        self.steps += 1
        self.total += float(action[0]) * self.np_random.uniform()
        self.may_do_harm(f"step {self.steps}")
        info = {"total": self.total, "is_success": self.total > 0}
        if self.steps % 3:
            info["reward_terms"] = {"drawn": self.total}
        terminated = self.steps >= self.last and self.last % 2 == 0
        return self.observe(), self.total, terminated, self.steps >= self.last, info

    def observe(self):
        return np.array([self.total, self.np_random.uniform()], np.float32)

    def may_do_harm(self, place):
        had = Path(f"{self.folder}_had") / f"{self.np_random_seed} {place}"
        if place != self.at or had.exists():
            return
        for file in Path(self.folder).iterdir():
            with suppress(FileNotFoundError):  # another environment was faster
                if not self.lasts:
                    file.unlink()
                    had.parent.mkdir(exist_ok=True)
                    had.touch()
                HARM[self.how]()

    def do_harm(self, how):
        """Do harm when asked to."""
        HARM[how]()


class Spoilt(Arm):
    """An arm with goals whose third step of its second episode has a number that is none."""

    def __init__(self, what="observation", number=float("nan"), **kwargs):
        super().__init__(**kwargs)
        self.what, self.number = what, number
        part = spaces.Box(-10, 10, (2,))
        self.observation_space = spaces.Dict({"observation": part, "goal": part})

    def observe(self):
        seen = {"observation": super().observe(), "goal": np.zeros(2, np.float32)}
        at = {"first": 0, "last": self.last, "observation": 3}.get(self.what)
        if self.resets == 2 and self.steps == at:
            seen["goal"][1] = self.number
        return seen

    def step(self, action):
        seen, reward, terminated, truncated, info = super().step(action)
        if self.resets == 2 and self.steps == 3 and self.what == "reward":
            info["reward_terms"] = {"drawn": self.number}
            reward = self.number
        return seen, reward, terminated, truncated, info


gymnasium.register("fragile/Arm-v0", entry_point=Arm, disable_env_checker=True, order_enforce=False)
gymnasium.register("fragile/Spoilt-v0", entry_point=Spoilt, disable_env_checker=True, order_enforce=False)
