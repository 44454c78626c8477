"""Workspaces: where a robot stands and what stands around it, one file each."""
