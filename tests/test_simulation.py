"""The traps of PyBullet that `envs/simulation.py` avoids."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pybullet as p
import pytest

from armature.envs.display import check_display
from armature.envs.simulation import Simulation
from armature.errors import ArmatureError
from tests.robot_envs import make


def test_a_free_fall_covers_the_distance_of_the_textbook():
    """One step is `substeps` calls of stepSimulation, not the numSubSteps parameter."""
    simulation = Simulation(substeps=12)
    assert simulation.time_step == 1 / 240
    body = simulation.add_shape("box", (0.04, 0.04, 0.04), mass=0.2, position=(0, 0, 1))
    p.changeDynamics(body, -1, linearDamping=0, physicsClientId=simulation.client)
    simulation.step()
    # Semi-implicit Euler: the velocity is updated first.
    fallen = 9.81 * simulation.time_step**2 * sum(range(1, 13))
    assert 1 - simulation.pose(body)[0][2] == pytest.approx(fallen, rel=1e-9)
    assert p.getPhysicsEngineParameters(physicsClientId=simulation.client)["numSubSteps"] == 0


def test_a_reset_leaves_no_contact_of_the_episode_before():
    env = make(task="pick_and_place")
    env.reset(seed=0)
    for _ in range(25):
        env.step(env.expert_action())
    assert env.now.grasped
    env.reset(seed=1)
    assert not env.now.grasped
    assert not p.getContactPoints(env.robot.body, env.bodies.objects[0], physicsClientId=env.simulation.client)


def test_a_reset_re_aims_the_motors():
    """Bullet keeps motor targets over a reset of joints: the arm would drive on to its old target."""
    env = make(task="reach")
    env.reset(seed=0)
    rest = env.now.robot.joint_positions
    for _ in range(10):
        env.step(np.ones(3))
    env.reset(seed=0)
    for _ in range(10):
        env.step(np.zeros(3))
    assert np.abs(env.now.robot.joint_positions - rest).max() < 0.005


def test_nothing_is_loaded_and_nothing_leaks_in_resets(monkeypatch):
    env = make(task="push")
    env.reset(seed=0)
    monkeypatch.setattr(p, "loadURDF", lambda *_, **__: pytest.fail("a reset loaded a URDF"))
    monkeypatch.setattr(p, "createMultiBody", lambda *_, **__: pytest.fail("a reset created a body"))
    for episode in range(500):
        env.reset(seed=episode)
    before = psutil.Process().memory_info().rss
    for episode in range(3000):
        env.reset(seed=episode)
    assert psutil.Process().memory_info().rss - before < 4_000_000


def test_bodies_never_sleep():
    env = make(task="push")
    env.reset(seed=0)
    for _ in range(60):
        env.step(np.zeros(3))
    env.simulation.place(env.bodies.objects[0], (0, 0, 0.3))
    env.step(np.zeros(3))
    assert env.now.objects[0].position[2] < 0.3, "a sleeping body does not fall"


def test_closing_twice_is_harmless():
    simulation = Simulation()
    simulation.close()
    simulation.close()


def test_a_window_without_a_display_is_a_clear_error(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ArmatureError, match="DISPLAY is not set"):
        Simulation(gui=True)


def test_a_display_that_is_not_there_is_a_clear_error(monkeypatch):
    """PyBullet would end the whole process."""
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(ArmatureError, match="cannot open a window on display ':987'"):
        check_display()


def test_environments_load_no_learning_library():
    code = (
        "import sys, gymnasium, armature.envs\n"
        "gymnasium.make('armature/PandaReach-v1').reset(seed=0)\n"
        "assert not {'torch', 'stable_baselines3'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes pages back")
def test_an_environment_more_takes_little_memory():
    """Worlds are full of pages of zeros, which are given back to the system."""
    code = """
import gymnasium, numpy as np, armature.envs
from pathlib import Path
def megabytes():
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Rss:")) / 1024
envs, seen = [], []
for _ in range(4):
    envs.append(gymnasium.make("armature/PandaPickAndPlace-v1", disable_env_checker=True).unwrapped)
    seen.append(envs[-1].reset(seed=0)[0]["observation"])
    for _ in range(50):
        last = envs[-1].step(envs[-1].expert_action())[0]["observation"]
    seen.append(last)
    if len(envs) == 2:
        first = megabytes()
assert all(np.array_equal(row, seen[number % 2]) for number, row in enumerate(seen))
print((megabytes() - first) / 2)
"""
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert float(done.stdout) < 30, "without it, 40"


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_arrays_of_the_trainer_stay_in_the_heap():
    """The threshold that an environment sets for its world is not left behind, or learning takes twice the time."""
    code = """
import gymnasium, numpy as np, resource, armature.envs
gymnasium.make("armature/PandaReach-v1").reset(seed=0)
for _ in range(3):
    np.ones(50_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    np.ones(50_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert int(done.stdout) < 1000  # 400 KB are a hundred pages
