"""Every spike inside the released modules, layer by layer: outputs alone could agree by luck where a spike changes nothing."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from golden import Golden
from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import Memory, name_memories
from models.zoo.qkformer import LinearSelfAttention, PatchEmbedding, QKAttention
from models.zoo.sdt import CurrentMLP, SDTConfiguration, SpikeDrivenSelfAttention
from models.zoo.spikformer import Block, ResidualBlock, SpikformerConfiguration, SpikingPatchSplitting
from models.zoo.spikingresformer import DualSpikeSelfAttention, GroupWiseFeedForward
from models.zoo.tim import TemporalInteraction, TIMConfiguration

LIF = LIFParameters()
ATAN = LIFParameters(surrogate="atan", alpha=2.0)
STAGE = SpikformerConfiguration(dim=32, n_heads=4, scale=0.125)
TIM = TIMConfiguration(dim=32, n_heads=2)
BLOCK = {
    "attn.q_lif": "attn.q",
    "attn.k_lif": "attn.k",
    "attn.v_lif": "attn.v",
    "attn.attn_lif": "attn.lif",
    "attn.proj_lif": "attn.proj",
    "mlp.fc1_lif": "mlp.fc1",
    "mlp.fc2_lif": "mlp.fc2",
}
SDT = {
    "attn.shortcut_lif": "attn.in_lif",
    "attn.q_lif": "attn.q",
    "attn.k_lif": "attn.k",
    "attn.v_lif": "attn.v",
    "attn.talking_heads_lif": "attn.lif",
    "mlp.fc1_lif": "mlp.lif1",
    "mlp.fc2_lif": "mlp.lif2",
}
QK = {"q_lif": "q", "k_lif": "k", "attn_lif": "lif", "proj_lif": "proj"}
DSSA = {"activation_in": "in_lif", "activation_attn": "attn_lif", "activation_out": "out_lif"}
GWFFN = {"up.0": "up_lif", "conv.0.0": "group_lif", "down.0": "down_lif"}


def _stem_names(key: str) -> str:
    name = key.split(".", 1)[1]
    return name if name.startswith(("rpe", "short")) else f"stages.{name}"


def _sdt_names(key: str) -> str:
    for layer in ("attn.q.", "attn.k.", "attn.v."):
        key = key.replace(layer, f"{layer}proj.")
    return key.replace(".lin.", ".conv.")


def _sdt(*, attention_pool: bool = False) -> nn.Module:
    configuration = SDTConfiguration(dim=32, n_heads=4, attention_pool=attention_pool)
    return ResidualBlock(SpikeDrivenSelfAttention(configuration), CurrentMLP(32, 4, configuration.lif))


def _dssa_names(key: str) -> str:
    return key.replace("dst.weight", "dst.conv.weight").replace("proj.weight", "proj.conv.weight")


@dataclass(frozen=True)
class Case:
    """How to build what a file holds, how its weights are called, and which of our layers gives which of its spikes."""

    build: Callable[[], nn.Module]
    spikes: dict[str, str]
    rename: Callable[[str], str] = str
    prefix: str = ""


CASES = {
    "spikformer_stem": Case(
        lambda: SpikingPatchSplitting(2, 32, "1111", LIF), {"proj_lif3": "stages.3.lif", "rpe_lif": "rpe"}, _stem_names
    ),
    "spikformer_block": Case(lambda: Block(SpikformerConfiguration(dim=32, n_heads=4)), BLOCK),
    "tim_block": Case(lambda: Block(TIM, lambda: TemporalInteraction(16, TIM)), {**BLOCK, "q_after_tim": "attn.tim"}),
    "qk_stem": Case(lambda: PatchEmbedding(2, 32, LIF), {"proj3_lif": "stages.3", "proj_res_lif": "short"}, _stem_names),
    "qk_token_attention": Case(lambda: QKAttention(STAGE, "token"), QK, prefix="attn."),
    "qk_channel_attention_derived": Case(lambda: QKAttention(STAGE, "channel"), QK, prefix="attn."),
    "qk_ssa": Case(lambda: LinearSelfAttention(STAGE), {**QK, "v_lif": "v"}, prefix="attn."),
    "sdt_block": Case(_sdt, SDT, _sdt_names),
    "sdt_block_dvs": Case(lambda: _sdt(attention_pool=True), SDT, _sdt_names),
    "dssa_lif_p1": Case(lambda: DualSpikeSelfAttention(32, 4, 1, "lif", ATAN), DSSA, _dssa_names),
    "dssa_plif_p2": Case(lambda: DualSpikeSelfAttention(32, 2, 2, "plif", ATAN), DSSA, _dssa_names),
    "gwffn": Case(lambda: GroupWiseFeedForward(16, 4, 16, "lif", ATAN), GWFFN),
}

TIM_CASES = {
    "argthr_a05": TIM,
    "argthr_a06": replace(TIM, mixing=0.6),
    "argthr_a04": replace(TIM, mixing=0.4),
    "released": TIM.released(),
}


def _spikes(module: nn.Module, x: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
    """What each of `layers` gave when `module` saw `x`, all calls one after another."""
    name_memories(module)
    seen: dict[str, list[Tensor]] = {}
    for name in layers:
        module.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: seen.setdefault(name, []).append(output)
        )
    with torch.no_grad():
        module(x, Memory(None))
    return {name: torch.cat(outputs) for name, outputs in seen.items()}


@pytest.mark.parametrize("file", CASES)
def test_every_layer_fires_as_the_released_one(file: str, shared_models: Path) -> None:
    case, golden = CASES[file], Golden(shared_models / "golden", file)
    module = case.build()
    golden.load(module, case.prefix, case.rename)
    x = golden["in/x"]
    is_tokens = isinstance(module, (QKAttention, LinearSelfAttention))
    spikes = _spikes(module, x.flatten(3) if is_tokens else x, case.spikes.values())
    stored = {key.removeprefix("mid/") for key in golden.arrays.files if key.startswith("mid/")}
    assert stored == set(case.spikes)
    for theirs, ours in case.spikes.items():
        released = golden[f"mid/{theirs}"]
        assert released.mean() > 0
        assert torch.equal(spikes[ours].reshape(released.shape), released), theirs


@pytest.mark.parametrize("case", TIM_CASES)
def test_both_neurons_of_the_temporal_interaction_fire_as_the_released_ones(case: str, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "tim_module")
    tim = TemporalInteraction(16, TIM_CASES[case])
    golden.load(tim, "tim.")
    spikes = _spikes(tim, golden["in/q"], ("in_lif", "out_lif"))
    for layer in ("in_lif", "out_lif"):
        released = golden[f"mid/{case}.{layer}_t1plus"]
        assert torch.equal(spikes[layer].reshape(released.shape), released)
