"""A network that begins a training with the weights of another one, as fine-tuning does."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoint import CheckpointInfo, load_checkpoint
from models.registry import create_network
from pipeline.schema.errors import ConfigurationError


def begin_from(checkpoint: str, classes: Sequence[str], settings: dict[str, Any]) -> tuple[nn.Module, CheckpointInfo, str]:
    """The network of `checkpoint` for `classes`, float32 in training mode; the checkpoint's info and `network@hash`.

    Its configuration is the checkpoint's but for `settings`. Rows of the classifier go to the classes of the same names; those
    of new names are fresh, drawn from torch's seed. ConfigurationError where `settings` change the shape of another weight.
    """
    old, info, title = load_checkpoint(checkpoint)
    configuration = {**info.configuration, **settings, "n_classes": len(classes)}
    network = create_network(info.network, **configuration)
    network.load_state_dict(_fitted(network.state_dict(), old.float().state_dict(), info, classes, checkpoint))
    return network.train(), info, title


def _fitted(
    fresh: dict[str, Tensor], old: dict[str, Tensor], info: CheckpointInfo, classes: Sequence[str], checkpoint: str
) -> dict[str, Tensor]:
    """The weights to begin with: `old`, with the rows of the classifier in the order of `classes`."""
    rows = _classifier(info)
    odd = sorted(name for name in fresh if name not in rows and (name not in old or old[name].shape != fresh[name].shape))
    if odd:
        raise ConfigurationError(
            f"{checkpoint}: {len(odd)} of its weights do not fit what is asked for ({', '.join(odd[:3])}); "
            f"keep its settings and its frames of {info.size[0]}x{info.size[1]}, or train from the beginning"
        )
    weights = {name: value.clone() for name, value in fresh.items()}
    for name in fresh:
        if name not in rows:
            weights[name] = old[name].clone()
            continue
        for i, label in enumerate(classes):
            if label in info.classes:
                weights[name][i] = old[name][info.classes.index(label)]
    return weights


def _classifier(info: CheckpointInfo) -> set[str]:
    """Names of the weights with a row for each class: those that one class more makes longer."""
    with torch.random.fork_rng(devices=[]):
        own, more = (
            create_network(info.network, **{**info.configuration, "n_classes": len(info.classes) + n}).state_dict()
            for n in (0, 1)
        )
    return {name for name, value in own.items() if more[name].shape != value.shape}
