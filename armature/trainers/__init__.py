"""Trainers: classes that collect trajectories, learn from them, and are rows of the table like any other algorithm.

settings.py         the hyperparameters, pydantic models
trajectory.py       Trajectory, and the collector that makes them
buffer.py           UpdateBuffer: what an on-policy update learns from
optimizer.py        Optimizer: loss and value estimates
reward_signals.py   RewardSignal, the environment's own reward, random network distillation
base.py             Trainer: environments, trajectories, statistics, saving
on_policy.py off_policy.py   the two that people derive from

Nothing heavy is imported here. The guide is docs/trainers.md.
"""
