"""Configurations shipped with Armature; this file makes the folder a part of the package."""
