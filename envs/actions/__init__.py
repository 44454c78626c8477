"""Action modes: what the numbers of an action mean. One file for each kind; names are in `armature.envs`."""
