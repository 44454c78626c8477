"""A network in a few lines of text: what is shared, what branches off, sizes, activation, number of parameters.

observation (10) -> 128 -+-> 16 -> action (3)
                         +-> 256 -> value
Tanh, 36,807 parameters, 1,408 of them shared
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from gymnasium import spaces


class Branch(NamedTuple):
    """What leads to an output."""

    layers: list[str]
    output: str


def draw_network(model: Any) -> str:
    """Return a drawing of a model's network; one of unknown parts is only named."""
    policy, action = model.policy, f"action {_size(model.action_space)}"
    try:
        trunk, branches = _parts(policy, action)
    except (AttributeError, IndexError, TypeError):  # a policy of somebody's own has the parts that it likes
        trunk, branches = [], [Branch([type(policy).__name__], action)]
    start = " -> ".join([f"observation {_size(model.observation_space)}", *trunk])
    return "\n".join([*_lines(start, branches), *_facts(policy)])


def _lines(start: str, branches: list[Branch]) -> list[str]:
    ways = [" -> ".join([*branch.layers, branch.output]) for branch in branches]
    if len(ways) == 1:
        return [f"{start} -> {ways[0]}"]
    first, *others = [f"+-> {way}" for way in ways]
    return [f"{start} -{first}", *(f"{' ' * len(start)}  {other}" for other in others)]


def _parts(policy: Any, action: str) -> tuple[list[str], list[Branch]]:
    """Return the layers that everything passes through, and the branches after them."""
    if hasattr(policy, "mlp_extractor"):
        return _actor_critic(policy, action)
    if hasattr(policy, "actor") and hasattr(policy, "critic"):
        actor = policy.actor
        hidden = actor.latent_pi if hasattr(actor, "latent_pi") else actor.mu[:-2]
        return [], [Branch(_sizes(actor.features_extractor, hidden), action), _critic(policy.critic)]
    for name in ("q_net", "quantile_net"):
        if hasattr(policy, name):
            net = getattr(policy, name)
            return [], [Branch(_sizes(net.features_extractor, getattr(net, name)[:-1]), f"value of each {action}")]
    return [], [Branch(_sizes(policy) or [type(policy).__name__], action)]


def _critic(critic: Any) -> Branch:
    """Return the branch of a critic; several networks alike, SB3's or an ensemble in one, are drawn, others named."""
    first, *others = [net for name, net in critic.named_children() if "extractor" not in name]
    nets = list(first) if type(first).__name__ == "ModuleList" else [first, *others]
    if hasattr(critic, "n_critics") and hasattr(nets[0], "out_features"):  # layers that hold those of all members
        nets = [nets] * critic.n_critics
    alike = type(nets[0]).__name__ in ("Sequential", "list")
    layers = _sizes(critic.features_extractor, *nets[0][:-1]) if alike else [type(critic).__name__]
    return Branch(
        layers, f"value of the action, {len(nets)} times" if alike and len(nets) > 1 else "value of the action"
    )


def _actor_critic(policy: Any, action: str) -> tuple[list[str], list[Branch]]:
    extractor, shared = policy.mlp_extractor, []
    branches: dict[str, list[Any]] = {"policy": [extractor.policy_net], "value": [extractor.value_net]}
    if policy.share_features_extractor:
        shared.append(policy.features_extractor)
    else:
        branches["policy"].insert(0, policy.pi_features_extractor)
        branches["value"].insert(0, policy.vf_features_extractor)
    if hasattr(policy, "trunk"):  # the LSTM of the Shared policies
        shared += [policy.trunk, policy.lstm_actor]
    elif hasattr(policy, "lstm_actor"):
        branches["policy"].insert(-1, policy.lstm_actor)
        branches["value"].insert(-1, policy.lstm_critic or policy.critic or policy.lstm_actor)
    if hasattr(extractor, "shared_net"):
        shared.append(extractor.shared_net)
    return _sizes(*shared), [Branch(_sizes(*branches["policy"]), action), Branch(_sizes(*branches["value"]), "value")]


def _sizes(*modules: Any) -> list[str]:
    """Return the layers of modules in words, in order."""
    return [word for module in modules for word in _words(module)]


def _words(module: Any) -> Iterable[str]:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor

    if isinstance(module, BaseFeaturesExtractor):
        if not isinstance(module, FlattenExtractor):
            yield f"{type(module).__name__} {module.features_dim}"
    elif hasattr(module, "hidden_size"):
        layers = f" x {module.num_layers}" if module.num_layers > 1 else ""
        yield f"{'LayerNorm ' * ('Norm' in type(module).__name__)}LSTM {module.hidden_size}{layers}"
    elif hasattr(module, "out_features"):
        yield str(module.out_features)
    else:
        for child in module.children():
            yield from _words(child)


def _facts(policy: Any) -> list[str]:
    import torch

    if not isinstance(policy, torch.nn.Module) or not (total := _count(policy.parameters())):
        return []  # of another framework
    facts = [f"{total:,} parameters"]
    activation = getattr(policy, "activation_fn", None)
    if isinstance(activation, type):
        facts.insert(0, activation.__name__)
    shared = _shared_parameters(policy)
    if shared:
        facts.append(f"{shared:,} of them shared")
    targets = [part for name, part in policy.named_children() if name.endswith("_target")]
    if targets:
        copies = sum(_count(part.parameters()) for part in targets)
        facts.append(f"{copies:,} of them slow copies for the targets")
    return [", ".join(facts)]


def _shared_parameters(policy: Any) -> int:
    """Return the number of parameters that the losses of policy and value function both train."""
    if not hasattr(policy, "mlp_extractor"):
        return 0
    shared = [getattr(policy.mlp_extractor, "shared_net", None), getattr(policy, "trunk", None)]
    shared += [policy.lstm_actor] if hasattr(policy, "trunk") else []
    shared += [policy.features_extractor] if policy.share_features_extractor else []
    return sum(_count(part.parameters()) for part in shared if part is not None)


def _count(parameters: Iterable[Any]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _size(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Dict):
        return "(" + ", ".join(f"{name} {_size(part)}" for name, part in space.spaces.items()) + ")"
    if isinstance(space, spaces.Discrete):
        return f"(one of {space.n})"
    kind = f" {space.dtype}" if space.dtype == "uint8" else ""
    return "(" + " x ".join(map(str, space.shape or ())) + kind + ")"
