"""Randomisation: quantities that differ from episode to episode, by name. Checked without a physics engine.

A quantity is a class: how many numbers it has, what they may be, and how they get into the world. A plugin adds one:

    class ObjectRestitution(Quantity):
        of_objects, limits = True, (0.0, 1.0)

        def apply(self, values: np.ndarray) -> None:
            for body, (value,) in zip(self.env.bodies.objects, values, strict=True):
                self.env.simulation.set_dynamics(body, restitution=value)

    quantities["object_restitution"] = ObjectRestitution

Every quantity is set anew in each episode, as the drawn values alone say: nothing of earlier episodes is left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from armature.envs.samplers import Limits, Sampler, sampler
from armature.errors import ConfigError
from armature.registry import quantities, resolve

if TYPE_CHECKING:
    from armature.envs.robot_env import RobotEnv


class Quantity(ABC):
    """Something that is drawn for every episode.

    Args:
        env: the environment, whose world is built.
        sampler: draws the values.
    """

    numbers: ClassVar[int] = 1
    """How many numbers make a value."""
    limits: ClassVar[tuple[float, float]]
    """The smallest and the largest number that make sense."""
    of_objects: ClassVar[bool] = False
    """Whether every object of the task has a value of its own."""

    def __init__(self, env: RobotEnv, sampler: Sampler) -> None:
        self.env, self.sampler = env, sampler
        self.rows = len(env.bodies.objects) if self.of_objects else 1

    @classmethod
    def read(cls, name: str, given: Any) -> Sampler:
        """Return the sampler that the config has for this quantity; raise `ConfigError` if it makes no sense."""
        return sampler(given, Limits(f"randomize.{name}", cls.numbers, *cls.limits))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw values (rows, numbers): a row for each object, or one."""
        return self.sampler.at(rng.random((self.rows, self.numbers)))

    @abstractmethod
    def apply(self, values: np.ndarray) -> None:
        """Put values (rows, numbers) into the world; objects stand where the task has placed them."""


class Randomization:
    """What a config randomises, in the order in which quantities are registered.

    Args:
        env: the environment, whose world is built.
        config: samplers by the quantity's name.
    """

    def __init__(self, env: RobotEnv, config: Mapping[str, Any]) -> None:
        samplers = check(config)
        self._quantities: dict[str, Quantity] = {
            name: resolve(quantities[name])(env, samplers[name]) for name in quantities if name in samplers
        }
        for name, quantity in self._quantities.items():
            if not quantity.rows:
                raise ConfigError(f"randomize.{name}: this task has no objects. Leave it out.")

    def begin(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw all values and put them into the world; return them by name, as JSON can hold them."""
        drawn = {}
        for name, quantity in self._quantities.items():
            values = quantity.draw(rng)
            quantity.apply(values)
            drawn[name] = _plain(values, quantity)
        return drawn


def check(config: Mapping[str, Any]) -> dict[str, Sampler]:
    """Return the samplers of a config by name; raise `ConfigError` for unknown names and values that make no sense."""
    return {name: resolve(quantities[name]).read(name, given) for name, given in config.items()}


def _plain(values: np.ndarray, quantity: Quantity) -> Any:
    """Return a number or a list of them; for objects a list of these."""
    rows = [row[0] if quantity.numbers == 1 else row for row in values.tolist()]
    return rows if quantity.of_objects else rows[0]


# ------------------------------------------------------------------------------------------------ objects


class ObjectSize(Quantity):
    """Share of an object's usual size. A fixed set is built at the start, since the engine never frees shapes."""

    COUNT: ClassVar[int] = 8
    """How many sizes are built of each object."""

    of_objects, limits = True, (0.1, 10.0)

    def __init__(self, env: RobotEnv, sampler: Sampler) -> None:
        super().__init__(env, sampler)
        self.usual = env.bodies
        shares = (np.arange(self.COUNT) + 0.5) / self.COUNT
        self.factors = list(dict.fromkeys(sampler.at(shares[:, None])[:, 0].tolist()))
        self.variants = [
            [env.simulation.add_scaled(body, factor) for factor in self.factors] for body in self.usual.objects
        ]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw factors (rows, 1) from the set."""
        return np.array(self.factors)[(rng.random((self.rows, 1)) * len(self.factors)).astype(int)]

    def apply(self, values: np.ndarray) -> None:
        """Put the body of the drawn size in the object's place, standing as low as that."""
        simulation, chosen = self.env.simulation, []
        for usual, variants, (factor,) in zip(self.usual.objects, self.variants, values.tolist(), strict=True):
            body = variants[self.factors.index(factor)]
            (x, y, z), quaternion = simulation.pose(usual)
            simulation.place(body, (x, y, z), quaternion)
            simulation.place(body, (x, y, z + simulation.lowest(usual) - simulation.lowest(body)), quaternion)
            simulation.park(usual)
            chosen.append(body)
        self.env.bodies = self.usual._replace(objects=chosen)


class ObjectPosition(Quantity):
    """Metres in x and y that an object is moved by from where the task has placed it."""

    of_objects, numbers, limits = True, 2, (-1.0, 1.0)

    def apply(self, values: np.ndarray) -> None:
        """Move the objects."""
        simulation = self.env.simulation
        for body, (right, ahead) in zip(self.env.bodies.objects, values.tolist(), strict=True):
            (x, y, z), quaternion = simulation.pose(body)
            simulation.place(body, (x + right, y + ahead, z), quaternion)


class ObjectRotation(Quantity):
    """Radians that an object is turned by about the vertical."""

    of_objects, limits = True, (-np.pi, np.pi)

    def apply(self, values: np.ndarray) -> None:
        """Turn the objects."""
        simulation = self.env.simulation
        for body, (angle,) in zip(self.env.bodies.objects, values.tolist(), strict=True):
            position, (x, y, z, w) = simulation.pose(body)
            sin, cos = np.sin(angle / 2), np.cos(angle / 2)
            turned = (cos * x - sin * y, cos * y + sin * x, cos * z + sin * w, cos * w - sin * z)
            simulation.place(body, position, turned)


class _ObjectDynamics(Quantity):
    """A value of an object's dynamics under one or more of the engine's names."""

    of_objects = True
    names: ClassVar[tuple[str, ...]]

    def apply(self, values: np.ndarray) -> None:
        """Set the value of each object."""
        for body, (value,) in zip(self.env.bodies.objects, values.tolist(), strict=True):
            self.env.simulation.set_dynamics(body, **dict.fromkeys(self.names, value))


class ObjectMass(_ObjectDynamics):
    """Kilograms; the inertia follows the shape."""

    names, limits = ("mass",), (1e-3, 100.0)


class ObjectFriction(_ObjectDynamics):
    """Lateral friction."""

    names, limits = ("lateralFriction",), (0.0, 10.0)


class ObjectDamping(_ObjectDynamics):
    """Share of its speed, linear and angular, that an object loses in a second."""

    names, limits = ("linearDamping", "angularDamping"), (0.0, 1.0)


class ObjectColor(Quantity):
    """Red, green, blue."""

    of_objects, numbers, limits = True, 3, (0.0, 1.0)

    def apply(self, values: np.ndarray) -> None:
        """Paint the objects."""
        for body, color in zip(self.env.bodies.objects, values.tolist(), strict=True):
            self.env.simulation.paint(body, (*color, 1.0))


# ------------------------------------------------------------------------------------------------ robot and world


class RobotColor(Quantity):
    """Red, green, blue of the whole robot."""

    numbers, limits = 3, (0.0, 1.0)

    def apply(self, values: np.ndarray) -> None:
        """Paint the robot."""
        self.env.simulation.paint(self.env.robot.body, (*values[0].tolist(), 1.0))


class WorkspaceColor(Quantity):
    """Red, green, blue of the surface that the robot works on."""

    numbers, limits = 3, (0.0, 1.0)

    def apply(self, values: np.ndarray) -> None:
        """Paint the first body of the workspace."""
        self.env.simulation.paint(0, (*values[0].tolist(), 1.0))


class MotorStrength(Quantity):
    """Share of the force that all motors of arm and gripper have."""

    limits = (0.01, 10.0)

    def apply(self, values: np.ndarray) -> None:
        """Set the motors' largest force."""
        self.env.robot.set_strength(float(values[0, 0]))


class JointDamping(Quantity):
    """Damping of the arm's joints in newton metre seconds per radian; it tells where motors are weak."""

    limits = (0.0, 1.0)  # the engine takes it from the last velocity: at 3, the last joints of a Panda begin to swing

    def apply(self, values: np.ndarray) -> None:
        """Set the damping of all joints of the arm."""
        for joint in self.env.robot.arm:
            self.env.simulation.set_dynamics(self.env.robot.body, joint, jointDamping=float(values[0, 0]))


class Gravity(Quantity):
    """Downward acceleration in metres per second squared."""

    limits = (0.0, 30.0)

    def apply(self, values: np.ndarray) -> None:
        """Set gravity."""
        self.env.simulation.set_gravity(float(values[0, 0]))


class _LookQuantity(Quantity):
    """A value that every camera goes by."""

    name: ClassVar[str]

    def apply(self, values: np.ndarray) -> None:
        """Set the value."""
        row = values[0].tolist()
        setattr(self.env.simulation.look, self.name, row if self.numbers > 1 else row[0])


class LightDirection(_LookQuantity):
    """A vector towards the light, of any length."""

    name, numbers, limits = "light_direction", 3, (-10.0, 10.0)


class LightIntensity(_LookQuantity):
    """Brightness as a share of the usual one."""

    name, limits = "light_intensity", (0.0, 2.0)


class CameraPosition(_LookQuantity):
    """Metres that cameras are moved by: to their right, up, backwards."""

    name, numbers, limits = "camera_position", 3, (-1.0, 1.0)


class CameraRotation(_LookQuantity):
    """Radians that cameras are turned by about the axes right, up, backwards."""

    name, numbers, limits = "camera_rotation", 3, (-np.pi, np.pi)
