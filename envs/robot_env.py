"""`RobotEnv`: simulation + workspace + robot + task + reward + observation, as one Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from armature.config import ObservationConfig
from armature.envs.actions.base import ActionMode
from armature.envs.camera import Camera, Marker
from armature.envs.eyes import Eye, Scene
from armature.envs.observations import Observation, Snapshot, selected_parts, selection
from armature.envs.randomization import Randomization
from armature.envs.rewards import Reward
from armature.envs.robots.base import Robot
from armature.envs.robots.description import RobotDescription
from armature.envs.scenery import Scenery, read_scene
from armature.envs.simulation import Simulation
from armature.envs.tasks.base import Task
from armature.envs.workspaces.base import Workspace
from armature.infos import Infos
from armature.registry import resolve, robot_actions, robots, tasks, workspaces
from armature.scene import SceneConfig

ObsType = np.ndarray | dict[str, np.ndarray]


class RobotEnv(gymnasium.Env[ObsType, np.ndarray]):
    """A robot arm that learns a task.

    ## Action space
    `Box(-1, 1)`; its meaning is the action mode's (`armature.envs.actions`), the last number is the gripper's, if
    the task uses it; otherwise the gripper stays closed.

    ## Observation space
    `goal`: a dict of `observation`, `achieved_goal` (3) and `desired_goal` (3); `flat`: one vector, to which the parts
    `goal` and `to_goal` are added. Parts and units: `armature.envs.observations`. Pictures of cameras are added under
    their names, `Box(0, 255, (height, width, channels), uint8)`; beside them a flat vector is called `state`.

    ## Rewards
    `sparse` or `dense` (`armature.envs.rewards`); dense terms are in `info["reward_terms"]`.

    ## Starting state
    Robot at its rest pose, objects and goal drawn by the task. An episode depends on its seed alone, bit for bit,
    whatever happened before.

    ## Episode end
    Truncated after `episode_steps`; terminated on success only if `terminate_on_success`. `info["is_success"]`
    stands at every step; the last one also has `success_once`, `success_at_end` and `first_success_step`. What
    `randomize` has drawn is in `info["randomization"]` at the reset and at the last step.

    Args:
        robot: name of a robot, or path of the .json file of your own.
        robot_action: name of an action mode; None takes `ee_delta`, or `ee_delta_pose` for tasks that turn the hand.
        gripper_action: what the last number means to the gripper: `width`, `open_close`, `blocked` (no such number), or
            `auto`, which is `width` if the task uses the gripper and else `blocked`.
        workspace: name of a workspace, or path of a .json file that describes one.
        task: name of a task.
        task_kwargs: the task's parameters.
        task_objects: what the task handles, one entry an object (`armature.scene.ObjectConfig`).
        distractors: bodies in the way that nothing moves (`armature.scene.DistractorConfig`).
        clutter: loose objects that lie about (`armature.scene.ClutterConfig`).
        observation: `goal` or `flat`.
        observation_parts: names of parts; None takes the task's own.
        observation_noise: standard deviations by part or picture (`armature.envs.imperfections`).
        observation_latency: control steps by part or picture.
        cameras: cameras whose pictures are observed (`armature.cameras.CameraConfig`).
        reward: `dense` or `sparse`.
        reward_weights: weights of dense terms that differ from the task's.
        episode_steps: length of an episode in control steps; None takes the task's. (The config's key is
            `max_episode_steps`, a name that `gymnasium.make` keeps for itself.)
        terminate_on_success: end an episode at its first success.
        randomize: what differs from episode to episode: samplers by quantity (`armature.envs.randomization`).
        render_mode: None, `rgb_array`, or `human` for PyBullet's window in real time.
        simulation: settings of `armature.envs.simulation.Simulation`.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 20}

    def __init__(
        self,
        *,
        robot: str = "panda",
        robot_action: str | None = None,
        gripper_action: str = "auto",
        workspace: str = "table",
        task: str = "reach",
        task_kwargs: Mapping[str, Any] | None = None,
        task_objects: Sequence[Mapping[str, Any]] = (),
        distractors: Sequence[Mapping[str, Any]] = (),
        clutter: Mapping[str, Any] | None = None,
        observation: str = "goal",
        observation_parts: Sequence[str] | None = None,
        observation_noise: Mapping[str, float] | None = None,
        observation_latency: Mapping[str, int] | None = None,
        cameras: Sequence[Mapping[str, Any]] = (),
        reward: str = "sparse",
        reward_weights: Mapping[str, float] | None = None,
        episode_steps: int | None = None,
        terminate_on_success: bool = False,
        randomize: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        **simulation: Any,
    ) -> None:
        description: RobotDescription = robots.find(robot)
        task_class: type[Task] = resolve(tasks[task])
        robot_action = robot_action or ("ee_delta_pose" if task_class.turns_hand else "ee_delta")
        mode_class: type[ActionMode] = resolve(robot_actions[robot_action])
        task_class.check(task_kwargs or {}, reward_weights or {})
        description.check(robot, task)
        mode_class.check(
            task=task,
            robot=robot,
            has_gripper=description.gripper is not None,
            robot_action=robot_action,
            gripper_action=gripper_action,
        )
        scene = read_scene(task_objects, distractors, clutter)
        suited = {name: size for name, size in description.task_kwargs.items() if name in task_class.parameters()}
        self.task = task_class(**{**suited, **(task_kwargs or {})})
        self.task.hand = description.hand
        self.task.objects = task_class.chosen_objects(scene.task_objects)
        self.reward = Reward(self.task, reward, reward_weights or {})
        wanted = selection(observation, observation_parts, cameras, observation_noise, observation_latency)
        parts = selected_parts(wanted, (*self.task.parts, *mode_class.parts), scene.distractors)
        self._feels = "touch" in parts
        if observation == "goal":  # Gymnasium and SB3 take an environment that has this method for a goal environment
            self.compute_reward = self._compute_reward
        self.episode_steps = episode_steps or self.task.horizon
        self.terminate_on_success = terminate_on_success
        self.render_mode = render_mode

        visuals, coarse = render_mode == "rgb_array" or bool(cameras), bool(cameras)
        simulation = {"substeps": max(task_class.substeps, mode_class.substeps), **simulation}
        self.simulation = Simulation(gui=render_mode == "human", visuals=visuals, coarse=coarse, **simulation)
        self._build_world(description, workspaces.find(workspace), scene)
        if gripper_action == "auto":
            gripper_action = "width" if self.task.uses_gripper else "blocked"
        self.action_mode = mode_class(self.robot, self.workspace, gripper_action)
        marker = None
        if visuals or render_mode:
            marker = Marker(self.simulation, self.task.marker_radius, self.task.ghost)
        self.camera = Camera(self.simulation, self.workspace.camera, marker) if marker and render_mode else None
        self.observation = Observation(wanted, parts, self._eyes(wanted, marker) if marker else ())
        self._randomization = Randomization(self, randomize or {})
        first = self._begin_episode(np.random.default_rng(0))
        self.action_space = spaces.Box(-1.0, 1.0, (self.action_mode.size,), np.float32)
        self.observation_space = _space_like(first)

    def _build_world(self, description: RobotDescription, workspace: Workspace, scene: SceneConfig) -> None:
        """Load workspace, robot, the task's bodies and what else lies about, in this order."""
        self.workspace = workspace
        workspace.build(self.simulation)
        base = np.array(workspace.robot_offset) - (description.distance, 0, 0)
        self.robot = Robot(self.simulation, description, base)
        self.task.surroundings = workspace.area
        self.bodies = self._built = self.task.build(self.simulation)
        self.scenery = Scenery(self.simulation, scene, workspace.area)

    # -------------------------------------------------------------------------------------------- Gymnasium

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Start an episode; with the same seed it is the same episode, whatever happened before."""
        super().reset(seed=seed)
        observation = self._begin_episode(self.np_random)
        return observation, {"is_success": self._success, **self._drawn}

    def step(self, action: np.ndarray) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Apply an action for one control period."""
        numbers: list[float] = np.asarray(action).tolist()
        self._actions.append(numbers)
        self._advance([min(max(number, -1.0), 1.0) for number in numbers])
        success = self._success
        terminated = success and self.terminate_on_success
        truncated = len(self._actions) >= self.episode_steps and not terminated
        info: dict[str, Any] = {"is_success": success}
        reward = self._reward(info)
        if terminated or truncated:
            info["success_once"] = self._first_success is not None
            info["success_at_end"] = success
            info["first_success_step"] = self._first_success
            info |= self._drawn
        if self.render_mode == "human":
            self.render()
        return self.observation.of(self.now), reward, terminated, truncated, info

    def _compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> np.ndarray | float:
        """Return the reward of goals of shape (k,) with one info, or (n, k) with a sequence of n infos."""
        single = np.ndim(achieved_goal) == 1
        facts = _facts([info] if isinstance(info, Mapping) else info) if self.reward.kind == "dense" else {}
        achieved, desired = np.atleast_2d(achieved_goal), np.atleast_2d(desired_goal)
        rewards = self.reward.compute(self.task.success(achieved, desired), achieved, desired, facts).rewards
        return float(rewards[0]) if single else rewards

    def render(self) -> np.ndarray | None:
        """Return a picture (height, width, 3) of uint8, or keep the window at real time."""
        if self.camera is None:
            return None
        self.camera.show_goal(self.task.marker(self.now.goal), success=self._success)
        if self.render_mode == "human":
            self.camera.wait_for_real_time()
            return None
        return self.camera.picture()

    def close(self) -> None:
        """Disconnect from PyBullet; a second call does nothing."""
        if hasattr(self, "simulation"):
            self.simulation.close()

    # -------------------------------------------------------------------------------------------- exact state

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` needs to come back to this moment: numpy arrays and values that JSON can hold.

        An episode is a pure function of the random state it began with and of its actions, so these are the state. No
        snapshot of the engine is as exact (docs/environments.md), and taking this one leaves the world alone.
        """
        actions = np.array(self._actions, float).reshape(-1, self.action_mode.size)
        return {
            "began_with": self._began_with,
            "continues_with": self.np_random.bit_generator.state,
            "actions": actions,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Come back to a moment, bit for bit, in this or another process: the episode's actions are played again.

        The environment must have been made with the same arguments.
        """
        self.np_random.bit_generator.state = state["began_with"]
        self._begin_episode(self.np_random)
        for action in state["actions"]:
            self.step(action)
        self.np_random.bit_generator.state = state["continues_with"]

    # -------------------------------------------------------------------------------------------- experts

    def expert_action(self) -> np.ndarray:
        """Return the action of the task's scripted expert in the present state."""
        return self.action_mode.towards(self.task.expert(self.now))

    # -------------------------------------------------------------------------------------------- inside

    def _begin_episode(self, rng: np.random.Generator) -> ObsType:
        """Put everything where the episode starts; nothing of earlier episodes is left, not even in Bullet's caches.

        Returns the first observation.
        """
        self._began_with = rng.bit_generator.state
        layout = self.task.draw(rng)
        self.goal = layout.goal.astype(np.float32)
        self.bodies = self._built  # randomised sizes put others in their places
        self.robot.reset(self.task.start_width)
        self.simulation.forget_contacts(self.robot.body)
        for body, pose in zip(self.bodies.objects, layout.objects, strict=True):
            self.simulation.place(body, *pose)
        for body, pose in zip(self.bodies.fixtures, layout.fixtures, strict=True):
            self.simulation.place(body, *pose)
        for mechanism, (pose, opening) in zip(self.bodies.mechanisms, layout.mechanisms, strict=True):
            self.simulation.place_mechanism(mechanism, pose, opening)
        self.scenery.place(rng, self.bodies, layout.clear)
        drawn = self._randomization.begin(rng)
        self._drawn = {"randomization": drawn} if drawn else {}
        self.robot.hold(self.task.start_width)
        self.simulation.detect_collisions()
        self._actions: list[list[float]] = []
        self._first_success: int | None = None
        self._observe([0.0] * self.action_mode.size)
        return self.observation.begin(self.now, rng)

    def _advance(self, action: Sequence[float]) -> None:
        """Move for one control period and look at what came of it."""
        self.action_mode.apply(action)
        self.simulation.step(self.action_mode.before_substep)
        self.robot.measure()
        self._observe(action)
        if self._success and self._first_success is None:
            self._first_success = len(self._actions)

    def _reward(self, info: dict[str, Any]) -> float:
        """Return the reward of the present state; tell in `info` its terms if it is dense, and what hindsight needs."""
        if self.reward.kind == "sparse":
            return self.reward.sparse(self._success)
        facts = self.task.facts(self.now)
        rows = {name: np.asarray(fact)[None] for name, fact in facts.items()}
        goals = self.now.achieved_goal[None], self.goal[None]
        rewards, terms = self.reward.compute(np.array([self._success]), *goals, rows)
        info["reward_terms"] = {name: float(term[0]) for name, term in terms.items()}
        if self.observation.form == "goal":
            info["facts"] = facts
        return float(rewards[0])

    def _observe(self, action: Sequence[float]) -> None:
        """Measure the world once; observation, reward and expert read the result."""
        simulation, objects = self.simulation, self.bodies.objects
        states = list(map(simulation.object_state, objects))
        now = self.now = Snapshot(
            robot=self.robot.now,
            objects=states,
            mechanisms=list(map(simulation.mechanism_state, self.bodies.mechanisms)),
            distractors=self.scenery.positions(),
            lag=self.action_mode.lag(self.robot.now),
            touch=self.robot.touch(objects[0]) if self._feels and objects else (),
            grasped=bool(objects) and self.task.uses_gripper and self.robot.grasps(objects[0], states[0].point),
            previous_action=action,
            goal=self.goal,
        )
        now.achieved_goal = np.array(self.task.achieved_goal(now), np.float32)
        self._success = self.task.succeeds(now.achieved_goal, self.goal)

    def _eyes(self, wanted: ObservationConfig, marker: Marker) -> list[Eye]:
        """Make the cameras of the observation; a goal dict, which hindsight rewrites, must not show the goal."""
        scene = Scene(self.simulation, self.robot, self._things, marker, self.task.marker)
        return [Eye(camera, scene, marked=wanted.form == "flat") for camera in wanted.cameras]

    def _things(self) -> list[int]:
        return [*self.bodies.objects, *(mechanism.body for mechanism in self.bodies.mechanisms)]


def _facts(infos: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the facts of n infos, (n,) or (n, ...) by name."""
    if isinstance(infos, Infos):
        return infos.gather("facts")
    return {name: np.array([info["facts"][name] for info in infos]) for name in infos[0]["facts"]}


def _space_like(observation: ObsType) -> spaces.Space[Any]:
    """Return the space of an observation: that of pictures, or unbounded."""
    if isinstance(observation, dict):
        return spaces.Dict({name: _space_like(value) for name, value in observation.items()})
    if observation.dtype == np.uint8:
        return spaces.Box(0, 255, observation.shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, observation.shape, np.float32)
