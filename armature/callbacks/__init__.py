"""What happens during training besides learning. Steps are environment steps over all environments.

every.py        Every: fires each so many steps
metrics.py      MetricsCallback: monitor.csv, metrics.csv, TensorBoard
saving.py       EvaluationCallback and CheckpointCallback: what is evaluated, and what is kept
stopping.py     StopOnSignal: Ctrl-C and SIGTERM
progress.py     ProgressCallback: a bar, or lines

Callbacks that count something have `get_state` and `set_state`, so that a resumed run continues counting.

    metrics, evaluations = MetricsCallback(run, config), EvaluationCallback(run, config, eval_env)
    checkpoints = CheckpointCallback(run, config, {"metrics": metrics})
    with StopOnSignal() as stop, contextlib.suppress(StopTraining):
        model.learn(steps, [evaluations, metrics, checkpoints, stop], log_interval=None, reset_num_timesteps=False)

Nothing heavy is imported here.
"""
