"""Our own algorithms. This package is loaded exactly as a stranger's plugin is: importing it registers rows."""

from armature import Combo, register

register("random", "pytorch", Combo("armature.myalgos.random_agent:RandomAgent", package="armature"))
