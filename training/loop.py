"""The training loop, on Lightning Fabric: one processor, one GPU, or several processes (`torchrun`), in the asked precision.

What a step does depends on (seed, epoch, step) and the weights alone, so a training that was killed goes on as if it had not
been (`training/resume.py`).
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.neuron import State
from models.resampling import mixed_logits, settle_norms
from pipeline.schema.clock import NS_PER_S, host_ns
from pipeline.schema.errors import ConfigurationError, GpuMissingError, MissingExtraError, UsageError
from training.augmentation import NONE
from training.batches import Share, batches, n_batches
from training.data import Binning, ClipSet
from training.logs import Report
from training.losses import accuracy_of, loss_of
from training.recipes import Recipe, rate_at
from training.resume import Book, Keep, Place, about_run
from training.streams import n_stream_steps, stream_batches

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["32", "bf16-mixed", "16-mixed"]

# Batches from which statistics are estimated after mixed training, as released.
_N_SETTLING = 10


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a training runs: device, processes with a device each, precision; `auto` is a GPU where there is one.

    With `keep` it is also kept in a file as it goes, and goes on where that file says.
    """

    device: Device = "cpu"
    devices: int = 1
    precision: Precision = "32"
    keep: Keep | None = None


CPU = Placement()


@dataclass(frozen=True, slots=True)
class _Run:
    """What one step works with: `network` is ours, `model` the same one as Fabric calls it; steps of an epoch."""

    fabric: "Fabric"
    network: Any
    model: Any
    optimiser: Any
    recipe: Recipe
    n_epoch: int

    def scale(self) -> dict[str, float]:
        """What the gradients' scaler of 16-mixed remembers; nothing in other precisions."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        return {} if scaler is None else dict(scaler.state_dict())

    def put_scale(self, scale: Mapping[str, float]) -> None:
        """Take up what `scale` gave."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        if scaler is not None and scale:
            scaler.load_state_dict(dict(scale))


def launch(placement: Placement) -> "Fabric":
    """Fabric on the placement's devices, its processes started; from `torchrun` there are as many as that started."""
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", "lightning-fabric") from error
    has_gpu = torch.cuda.is_available()
    if placement.device == "cuda" and not has_gpu:
        raise GpuMissingError("--device cuda: torch finds no GPU here; leave --device out to train on the processor")
    device = ("cuda" if has_gpu else "cpu") if placement.device == "auto" else placement.device
    if device == "cpu" and placement.precision == "16-mixed":
        raise UsageError("--precision 16-mixed needs a GPU; on a processor there is bf16-mixed")
    n_all = int(os.environ.get("WORLD_SIZE", str(placement.devices)))
    fabric = Fabric(
        accelerator=device,
        devices=placement.devices,
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        strategy="ddp" if n_all > 1 else "auto",
        precision="32-true" if placement.precision == "32" else placement.precision,
    )
    fabric.launch()
    return fabric


def describe(placement: Placement) -> dict[str, Any]:
    """Device, number of processes and precision, for a checkpoint to remember."""
    is_gpu = placement.device == "cuda" or (placement.device == "auto" and torch.cuda.is_available())
    n_all = int(os.environ.get("WORLD_SIZE", str(placement.devices)))
    device = torch.cuda.get_device_name() if is_gpu else "cpu"
    return {"device": device, "processes": n_all, "precision": placement.precision}


def is_first_process() -> bool:
    """Whether this process is the one of a training that writes and prints."""
    return not torch.distributed.is_available() or not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def fit(
    network: nn.Module, clips: ClipSet, binning: Binning, recipe: Recipe, report: Report, placement: Placement = CPU
) -> None:
    """Train `network` in place; `report` gets one dictionary after each step, with `epoch`, `step`, `loss`, `accuracy`.

    At the end the network is on the processor, ready to judge.
    """
    fabric = launch(placement)
    share = Share(fabric.global_rank, fabric.world_size)
    _check(network, recipe, share)
    torch.manual_seed(recipe.seed)
    optimiser = make_optimiser(network, recipe)
    model, wrapped = fabric.setup(network, optimiser)
    model.mark_forward_method("run")
    n_epoch = n_stream_steps(clips, binning, recipe) if recipe.steps == "stream" else n_batches(len(clips), recipe)
    run = _Run(fabric, network, model, wrapped, recipe, n_epoch)
    book = None
    if placement.keep is not None:
        about = about_run(network, clips, binning, recipe, f"{placement.precision} in {share.n}")
        book = Book(placement.keep, network, optimiser, about)
    place = Place() if book is None else book.load()
    run.put_scale(place.scale)
    begun = host_ns() - int(place.seconds * NS_PER_S)
    network.train()
    for counts, labels in _feed(clips, binning, run, place.step, share):
        place, told = _step(run, counts, labels, place)
        place = replace(place, seconds=(host_ns() - begun) / NS_PER_S)
        if fabric.is_global_zero:
            report({**told, "seconds": place.seconds})
            if book is not None:
                book.write(place)
    _finish(network, clips, binning, recipe)


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW as the released trainings set it up (timm's): what has one axis, biases and batch norms, does not decay.

    A decaying norm would pull currents below a threshold that stays where it is.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.learning_rate)


def _check(network: Any, recipe: Recipe, share: Share) -> None:
    if recipe.batch % share.n:
        raise UsageError(f"--batch {recipe.batch} cannot be shared by {share.n} processes; use a multiple of {share.n}")
    if recipe.steps == "mixed" and share.n > 1:
        raise UsageError("mixed time steps are trained by one process; leave --devices out")
    if recipe.steps == "mixed" and hasattr(network.configuration, "n_time_bins"):
        raise ConfigurationError("this network has weights of its own for each bin of a window; it cannot be trained for any T")


def _feed(clips: ClipSet, binning: Binning, run: _Run, step: int, share: Share) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of all steps from `step` on."""
    draw = stream_batches if run.recipe.steps == "stream" else batches
    for epoch in range(step // run.n_epoch, run.recipe.epochs):
        first = step % run.n_epoch if epoch == step // run.n_epoch else 0
        yield from draw(clips, binning, run.recipe, epoch, first, share)


def _step(run: _Run, counts: Tensor, labels: Tensor, place: Place) -> tuple[Place, dict[str, Any]]:
    """One step of the weights; where the training stands after it, and what is told of it."""
    recipe, n_steps = run.recipe, run.n_epoch * run.recipe.epochs
    rate = rate_at(place.step, n_steps, recipe)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    counts, labels = counts.to(run.fabric.device), labels.to(run.fabric.device)
    run.optimiser.zero_grad(set_to_none=True)
    if recipe.steps == "mixed":
        loss, accuracy, carried = *_learn_mixed(run, counts, labels, place.step), None
    else:
        is_continued = recipe.steps == "stream" and place.step % run.n_epoch != 0
        loss, accuracy, carried = _learn(run, counts, labels, place.carried if is_continued else None)
    if not math.isfinite(loss):
        raise ConfigurationError(
            f"step {place.step + 1}: the loss is {loss}; train with a smaller --rate, or with --precision 32"
        )
    norm = _clip(run) if recipe.clip_norm > 0.0 else {}
    run.optimiser.step()
    told = {"epoch": place.step // run.n_epoch, "step": place.step + 1, "n_steps": n_steps, "loss": loss, "accuracy": accuracy}
    return Place(place.step + 1, carried=carried, scale=run.scale()), {**told, "rate": rate, **norm}


def _clip(run: _Run) -> dict[str, float]:
    """Bring the norm of all gradients down to the recipe's; what it was, as `gradient`, or nothing where it was no number."""
    norm = run.fabric.clip_gradients(run.model, run.optimiser, max_norm=run.recipe.clip_norm, error_if_nonfinite=False)
    return {"gradient": float(norm)} if norm is not None and math.isfinite(norm) else {}


def _learn(run: _Run, counts: Tensor, labels: Tensor, carried: State | None) -> tuple[float, float, dict[str, Tensor] | None]:
    """Gradients of one window, or of one stretch of streams, whose membranes come from the stretch before."""
    with run.fabric.autocast():  # Fabric does this for a wrapped `forward` alone
        logits, state = run.model.run(counts, carried)
    loss = loss_of(logits.float(), labels, run.recipe)
    run.fabric.backward(loss)
    after = {name: value.detach() for name, value in state.items()} if run.recipe.steps == "stream" else None
    return float(loss.detach()), accuracy_of(logits.detach(), labels), after


def _learn_mixed(run: _Run, counts: Tensor, labels: Tensor, step: int) -> tuple[float, float]:
    """Gradients of a batch that runs several times, each group of layers for its own length; mean loss and accuracy."""
    generator = torch.Generator().manual_seed(int(np.random.default_rng((run.recipe.seed, step)).integers(2**62)))
    losses, accuracies = list[float](), list[float]()
    with run.fabric.autocast():
        for logits in mixed_logits(run.network, counts, counts.shape[0], generator):
            loss = loss_of(logits.unsqueeze(0).float(), labels, run.recipe)
            run.fabric.backward(loss)
            losses.append(float(loss.detach()))
            accuracies.append(accuracy_of(logits.detach().unsqueeze(0), labels))
    return float(np.mean(losses)), float(np.mean(accuracies))


def _finish(network: Any, clips: ClipSet, binning: Binning, recipe: Recipe) -> None:
    """The network on the processor, its norms estimated for T bins where it was trained for many lengths."""
    network.cpu()
    if recipe.steps == "mixed":
        plain = replace(recipe, augmentation=NONE, mixup=0.0)
        drawn = (counts for epoch in range(_N_SETTLING) for counts, _ in batches(clips, binning, plain, epoch))
        settle_norms(network, islice(drawn, _N_SETTLING))
    network.eval()
