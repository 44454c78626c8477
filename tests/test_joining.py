"""A robot whose fixed links are joined is the robot that its file describes."""

from pathlib import Path
from xml.etree import ElementTree

import gymnasium
import numpy as np
import pytest

import armature.envs  # noqa: F401, registers the environments
from armature.envs.engine import p
from armature.envs.meshes import draw_as_it_collides
from armature.envs.robots.joining import join_fixed_links
from armature.envs.robots.loading import load
from armature.envs.rotations import turn_between
from armature.envs.simulation import Simulation
from armature.errors import UnknownNameError
from armature.registry import robots

ARM = """<robot name="arm">
  <link name="stand"/>
  <joint name="foot" type="fixed"><parent link="stand"/><child link="base"/><origin xyz="0 0 .1" rpy="0 0 .5"/></joint>
  <link name="base"><inertial><mass value="2"/><inertia ixx=".1" ixy="0" ixz="0" iyy=".1" iyz="0" izz=".1"/></inertial>
    <visual><geometry><box size=".1 .1 .1"/></geometry><material name="red"><color rgba="1 0 0 1"/></material></visual>
  </link>
  <joint name="turn" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 .2" rpy=".1 .2 .3"/>
    <axis xyz="0 0 1"/><limit lower="-3" upper="3" effort="9" velocity="3"/></joint>
  <link name="upper"><inertial><origin xyz=".1 0 .05" rpy=".3 .2 .1"/><mass value="1.5"/>
      <inertia ixx=".02" ixy=".003" ixz="-.002" iyy=".03" iyz=".004" izz=".025"/></inertial>
    <visual><geometry><sphere radius=".03"/></geometry><material name="red"/></visual></link>
  <joint name="bolt" type="fixed"><parent link="upper"/><child link="plate"/>
    <origin xyz=".2 .1 -.1" rpy=".4 -.5 2"/></joint>
  <link name="plate"><inertial><origin xyz="0 .02 .03" rpy="1 0 .4"/><mass value=".7"/>
      <inertia ixx=".004" ixy="-.001" ixz=".0005" iyy=".005" iyz=".0008" izz=".006"/></inertial>
    <collision><origin xyz=".01 0 0" rpy="0 .3 0"/><geometry><box size=".1 .05 .02"/></geometry></collision></link>
  <joint name="weld" type="fixed"><parent link="plate"/><child link="camera"/>
    <origin xyz="0 .3 0" rpy=".2 1.5707963267948966 .3"/></joint>
  <link name="camera"><inertial><origin xyz=".05 0 0"/><mass value=".3"/>
      <inertia ixx=".001" ixy="0" ixz="0" iyy=".002" iyz="0" izz=".0025"/></inertial>
    <visual><origin rpy="0 0 1"/><geometry><box size=".02 .03 .04"/></geometry><material name="blue"/></visual></link>
  <joint name="nod" type="revolute"><parent link="camera"/><child link="tip"/><origin xyz=".1 0 .1" rpy="0 -.7 .3"/>
    <axis xyz="0 1 0"/><limit lower="-3" upper="3" effort="9" velocity="3"/></joint>
  <link name="tip"><inertial><origin xyz=".1 0 0"/><mass value=".4"/>
      <inertia ixx=".001" ixy="0" ixz="0" iyy=".002" iyz="0" izz=".0025"/></inertial></link>
  <material name="blue"><color rgba="0 0 1 1"/></material>
</robot>"""


@pytest.fixture
def simulation():
    simulation = Simulation(visuals=True)
    yield simulation
    simulation.close()


def make(**kwargs):
    return gymnasium.make("armature/RobotEnv-v1", disable_env_checker=True, **kwargs).unwrapped


def joined_arm(simulation, folder, apart=()):
    """Return the bodies of `ARM` as it is and joined, and where its links are."""
    robot = ElementTree.fromstring(ARM)
    draw_as_it_collides(robot, everything=False)
    places = join_fixed_links(robot, apart)
    bodies = []
    for name, text in (("apart", ARM), ("joined", ElementTree.tostring(robot, encoding="unicode"))):
        file = Path(folder) / f"{name}.urdf"
        file.write_text(text)
        bodies.append(simulation.load_urdf(str(file), (0.1, 0.2, 0.3), flags=p.URDF_USE_INERTIA_FROM_FILE))
    return *bodies, places


def loaded(simulation, name):
    """Return the bodies of a robot as its file has it and as it is loaded, and where its links are."""
    description = robots.find(name)
    body, places, _ = load(simulation, description, (0.1, 0.2, 0.3))
    return simulation.load_urdf(description.urdf, (0.1, 0.2, 0.3)), body, places


class Mechanics:
    """What the engine says of a body, in an order of joints that does not depend on its links."""

    def __init__(self, simulation, body):
        self.body, self.client = body, simulation.client
        infos = [
            p.getJointInfo(body, index, physicsClientId=self.client)
            for index in range(p.getNumJoints(body, physicsClientId=self.client))
        ]
        self.joints = {info[1]: info[0] for info in infos if info[2] != p.JOINT_FIXED}
        self.links = {info[12].decode(): info[0] for info in infos}
        columns = sorted(self.joints.values())
        self.order = [columns.index(self.joints[name]) for name in sorted(self.joints)]

    def move(self, positions, velocities):
        """Put the joints, sorted by their names, somewhere."""
        self.positions, self.velocities = np.zeros_like(positions), np.zeros_like(positions)
        self.positions[self.order], self.velocities[self.order] = positions, velocities
        for name, position, velocity in zip(sorted(self.joints), positions, velocities, strict=True):
            p.resetJointState(self.body, self.joints[name], position, velocity, physicsClientId=self.client)

    def mass_matrix(self):
        found = np.array(p.calculateMassMatrix(self.body, self.positions.tolist(), physicsClientId=self.client))
        return found[self.order][:, self.order]

    def torques(self):
        """Return what gravity and velocities (inverse dynamics) ask of the joints."""
        state = self.positions.tolist(), self.velocities.tolist(), [0.3] * len(self.positions)
        return np.array(p.calculateInverseDynamics(self.body, *state, physicsClientId=self.client))[self.order]

    def frame(self, link):
        if link not in self.links:  # the root
            return p.getBasePositionAndOrientation(self.body, physicsClientId=self.client)
        client = self.client
        return p.getLinkState(self.body, self.links[link], computeForwardKinematics=1, physicsClientId=client)[4:6]


def check_same(simulation, raw, body, places):
    before, after = Mechanics(simulation, raw), Mechanics(simulation, body)
    rng = np.random.default_rng(0)
    for _ in range(3):
        state = rng.uniform(-1, 1, (2, len(before.joints)))
        before.move(*state)
        after.move(*state)
        np.testing.assert_allclose(after.mass_matrix(), before.mass_matrix(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(after.torques(), before.torques(), rtol=1e-5, atol=1e-6)
        for name in before.links:
            place = places[name]
            position, turn = p.multiplyTransforms(*after.frame(place.link), place.position.tolist(), place.quaternion)
            np.testing.assert_allclose(position, before.frame(name)[0], atol=1e-6)
            np.testing.assert_allclose(turn_between(turn, before.frame(name)[1]), np.zeros(3), atol=2e-6)
    return before, after


def test_an_arm_with_turned_fixed_links_has_the_same_dynamics(simulation, tmp_path):
    raw, body, places = joined_arm(simulation, tmp_path)
    before, after = check_same(simulation, raw, body, places)
    assert (len(before.links), list(after.links)) == (5, ["upper", "tip"])
    assert {name: place.link for name, place in places.items()} == {
        **{"stand": "stand", "base": "stand", "tip": "tip"},
        **dict.fromkeys(("upper", "plate", "camera"), "upper"),
    }


def test_a_link_can_be_kept_apart_with_its_frame_and_mass(simulation, tmp_path):
    raw, body, places = joined_arm(simulation, tmp_path, apart=("camera",))
    _, after = check_same(simulation, raw, body, places)
    assert set(after.links) == {"upper", "camera", "tip"}


def test_joined_links_keep_their_shapes_and_colours(simulation, tmp_path):
    raw, body, _ = joined_arm(simulation, tmp_path)
    seen = [p.getVisualShapeData(each, physicsClientId=simulation.client) for each in (raw, body)]
    colours = [sorted((shape[2], shape[3], shape[7]) for shape in shapes) for shapes in seen]
    assert colours[0] == colours[1]
    assert {shape[7] for shape in seen[1]} == {(1, 0, 0, 1), (0, 0, 1, 1), (1, 1, 1, 1)}


def test_joined_links_collide_where_they_did(simulation, tmp_path):
    raw, body, _ = joined_arm(simulation, tmp_path)
    ball = simulation.add_shape("sphere", (0.1, 0.1, 0.1))
    for place in np.random.default_rng(0).uniform(-1, 1, (9, 3)):
        simulation.place(ball, place)
        gaps = [
            min(gap[8] for gap in p.getClosestPoints(ball, each, 9.0, physicsClientId=simulation.client))
            for each in (raw, body)
        ]
        assert gaps[0] == pytest.approx(gaps[1], abs=1e-6)


@pytest.mark.parametrize(("name", "links"), [("panda", 9), ("xarm6", 12)])
def test_a_robot_is_loaded_with_fewer_links_and_the_same_dynamics(simulation, name, links):
    raw, body, places = loaded(simulation, name)
    _, after = check_same(simulation, raw, body, places)
    assert len(after.links) == links
    seen = [len(p.getVisualShapeData(each, physicsClientId=simulation.client)) for each in (raw, body)]
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ["panda", "kuka", "xarm6"])
def test_jacobian_and_velocity_are_those_of_the_end_effector(name):
    robot = make(robot=name).robot
    joints, speeds = np.random.default_rng(1).uniform(-1, 1, (2, len(robot.arm)))

    def measured(joints):
        for joint, position, speed in zip(robot.arm, joints, speeds, strict=True):
            p.resetJointState(robot.body, joint, position, speed, physicsClientId=robot.simulation.client)
        return robot.measure()

    def change(way):
        later, earlier = measured(joints + 1e-3 * way), measured(joints - 1e-3 * way)
        turn = turn_between(earlier.ee_quaternion, later.ee_quaternion)
        return np.concatenate([later.ee_position - earlier.ee_position, turn]) / 2e-3

    columns = np.array([change(way) for way in np.eye(len(joints))]).T
    now = measured(joints)
    np.testing.assert_allclose(robot.jacobian(), columns, atol=5e-4)
    np.testing.assert_allclose([*now.ee_velocity, *now.ee_spin], columns @ speeds, atol=2e-3)


def test_ghosts_touch_nothing_after_a_reset():
    """The body of xArm 6's gripper is a ghost in a link that is none."""
    env = make(robot="xarm6", task="push")
    env.reset(seed=0)
    block, now = env.bodies.objects[0], env.now.robot

    def touched(distance):
        """Return the links that touch a block so far (metres) behind the end effector, in the gripper."""
        place, _ = p.multiplyTransforms(now.ee_point, now.ee_quaternion, (0.0, 0.0, -distance), (0, 0, 0, 1))
        env.simulation.place(block, place)
        env.simulation.detect_collisions()
        return env.simulation.touching(env.robot.body, block)

    assert touched(0.166 - 0.05) == set()
    assert touched(0.166) == {env.robot.ee_link}, "the wrist is no ghost"
    assert touched(0.0), "nor are the fingers"


def test_a_ghost_that_is_not_there_is_named(simulation, monkeypatch):
    description = robots.find("panda")
    monkeypatch.setitem(description.__dict__, "ghosts", ("panda_hond",))
    with pytest.raises(UnknownNameError, match=r"unknown link of .*'panda_hond'; did you mean 'panda_hand'"):
        load(simulation, description, (0.0, 0.0, 0.0))


def test_a_tilted_hand_is_as_low_as_its_own_box(simulation):
    """The box that Bullet knows around joined links is larger."""
    robot = make(robot="panda").robot
    raw = simulation.load_urdf("franka_panda/panda.urdf", (-0.6, 0.0, 0.0))
    body = Mechanics(simulation, raw)
    hand = [body.links[name] for name in ("panda_hand", "panda_link7")]
    for tilt in (1.4, 2.0, 2.9):
        robot.rest_pose[5] = tilt
        robot.reset(0.0)
        robot.measure()
        body.move([0.0, 0.0, *robot.rest_pose], np.zeros(9))
        wanted = min(p.getAABB(raw, link, physicsClientId=simulation.client)[0][2] for link in hand)
        assert min(height for height, _ in robot.low_links(9.0)) == pytest.approx(wanted, abs=1e-6)
