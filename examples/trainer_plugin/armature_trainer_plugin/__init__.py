"""An example of a package with trainers for Armature."""
