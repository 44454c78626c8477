"""Robots: each file holds one description, registered by name in `armature.envs`."""
