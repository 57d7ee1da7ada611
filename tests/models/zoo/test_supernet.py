"""The supernet: every subnet is its leading slices, learns into them, and can be taken out."""

import random
from typing import Any

import pytest
import torch
from golden import Lively
from torch import Tensor

from models.energy import SpikeMeter, energy_uj
from models.search import Candidate, Evolution, SearchSpace
from models.zoo.autospikformer import AutoSpikformer, fitness
from models.zoo.supernet import Supernet, judge_subnet, search_subnets, slice_weights, subnet_loss
from pipeline.schema.errors import ConfigurationError

SPACE = SearchSpace(
    whole={"dim": (16, 24, 32), "n_time_bins": (2, 3)},
    depth=(1, 2),
    layer={"mlp_ratio": (3, 3.5), "n_heads": (4, 8), "v_threshold": (0.6, 1.0), "tau": (1.25, 2)},
)
AUTOST = SearchSpace(whole={"dim": (16, 32)}, depth=(1, 2), layer={"n_heads": (4, 8), "mlp_ratio": (3, 4)})
SETTINGS: dict[str, Any] = {"n_classes": 3, "size": (16, 16), "pools": "0011"}
SMALLER = Candidate((24, 2), ((3.5, 4, 0.6, 1.25),))


def _counts(n_time_bins: int = 3) -> Tensor:
    rate = torch.full((n_time_bins, 2, 2, 16, 16), 0.6, dtype=torch.float64)
    return torch.poisson(rate, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "space"), [("autospikformer", SPACE), ("autost", AUTOST)])
def test_a_subnet_run_on_the_supernet_equals_the_network_with_its_slices(
    name: str, space: SearchSpace, lively: Lively[Supernet]
) -> None:
    torch.manual_seed(0)
    supernet = lively(Supernet(name, space, **SETTINGS))
    rng = random.Random(0)
    answers = []
    with torch.no_grad():
        for _ in range(6):
            candidate = supernet.draw(rng)
            logits, state = supernet.run(_counts(), candidate)
            alone = supernet.extract(candidate).double()
            expected, expected_state = alone.run(_counts())
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
            assert set(state) == set(expected_state)
            assert supernet.n_parameters(candidate) == sum(p.numel() for p in alone.parameters())
            answers.append(logits)
    assert any(not torch.equal(answers[0], other) for other in answers[1:])


def test_slices_are_the_leading_rows_and_columns_and_the_stem_keeps_its_first_widths() -> None:
    supernet = Supernet("autospikformer", SPACE, **SETTINGS)
    subnet = supernet.extract(SMALLER)
    assert isinstance(subnet, AutoSpikformer)
    whole, own = supernet.network.state_dict(), subnet.state_dict()
    assert torch.equal(own["blocks.0.attn.q.lin.weight"], whole["blocks.0.attn.q.lin.weight"][:24, :24])
    assert torch.equal(own["blocks.0.mlp.fc1.bn.weight"], whole["blocks.0.mlp.fc1.bn.weight"][:84])
    assert torch.equal(own["stem.stages.2.conv.weight"], whole["stem.stages.2.conv.weight"])
    assert torch.equal(own["stem.stages.3.conv.weight"], whole["stem.stages.3.conv.weight"][:24])


def test_training_a_subnet_moves_its_slices_and_nothing_else() -> None:
    torch.manual_seed(0)
    supernet = Supernet("autospikformer", SPACE, **SETTINGS).train()
    logits, _ = supernet.run(_counts().float(), SMALLER)
    logits.square().sum().backward()
    parameters = dict(supernet.network.named_parameters())
    weight = parameters["blocks.0.mlp.fc1.lin.weight"]
    assert weight.grad is not None
    assert weight.grad[:84, :24].abs().sum() > 0
    assert weight.grad[84:].abs().sum() == 0
    assert weight.grad[:, 24:].abs().sum() == 0
    assert parameters["blocks.1.attn.q.lin.weight"].grad is None
    means = dict(supernet.network.named_buffers())["blocks.0.attn.q.bn.running_mean"]
    assert means[:24].abs().min() > 0
    assert means[24:].abs().max() == 0


def test_the_number_of_time_bins_belongs_to_the_candidate_and_not_to_its_network() -> None:
    supernet = Supernet("autospikformer", SPACE, **SETTINGS)
    assert supernet.n_time_bins(SMALLER) == 2
    assert "n_time_bins" not in supernet.subnet_settings(SMALLER)
    assert Supernet("autost", AUTOST, **SETTINGS).n_time_bins(Candidate((16,), ((4, 3),))) is None


def test_a_stream_of_a_subnet_goes_on_from_its_state(lively: Lively[Supernet]) -> None:
    supernet = lively(Supernet("autospikformer", SPACE, **SETTINGS))
    with torch.no_grad():
        whole, _ = supernet.run(_counts(4), SMALLER)
        _, state = supernet.run(_counts(4)[:1], SMALLER)
        rest, _ = supernet.run(_counts(4)[1:], SMALLER, state)
    torch.testing.assert_close(rest, whole[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("settings", "complaint"), [({"depth": 3}, "deeper"), ({"dim": 64}, "does not fit")])
def test_a_subnet_larger_than_the_supernet_is_refused(settings: dict[str, Any], complaint: str) -> None:
    supernet = Supernet("autost", AUTOST, **SETTINGS)
    larger = Supernet(
        "autost", SearchSpace({"dim": (settings.get("dim", 32),)}, (settings.get("depth", 2),), AUTOST.layer), **SETTINGS
    )
    with pytest.raises(ConfigurationError, match=complaint):
        slice_weights(supernet.network.state_dict(), larger.network)


def test_training_draws_a_subnet_for_each_batch() -> None:
    torch.manual_seed(0)
    supernet = Supernet("autospikformer", SPACE, **SETTINGS).train()
    widths: list[int] = []
    handle = supernet.network.head.weight.register_hook(lambda grad: widths.append(int((grad.abs().sum(0) > 0).sum())))
    rng = random.Random(0)
    for _ in range(6):
        loss = subnet_loss(supernet, _counts().float(), torch.tensor([0, 2]), rng)
        loss.backward()
    handle.remove()
    # the head learns the leading channels of the widths drawn, and no others
    assert set(widths) <= {16, 24, 32}
    assert len(set(widths)) > 1
    assert loss.item() == pytest.approx(1.0986, abs=0.3)  # log 3: nothing is learned yet


def test_a_subnet_is_judged_by_its_answers_and_by_the_spikes_that_flowed(lively: Lively[Supernet]) -> None:
    supernet = lively(Supernet("autospikformer", SPACE, **SETTINGS))
    labels = torch.tensor([0, 1])
    accuracy, spent_uj = judge_subnet(supernet, SMALLER, _counts(), labels)
    network = supernet.extract(SMALLER)
    meter = SpikeMeter(network)
    with torch.no_grad():
        right = [int(network(_counts()[:2, i : i + 1]).argmax()) == i for i in range(2)]  # SMALLER sees two bins
    reading = meter.read()
    meter.close()
    assert accuracy == sum(right) / 2
    assert spent_uj == pytest.approx(energy_uj(reading.sops, reading.first_macs) / 2)
    assert spent_uj > 0


def test_search_gives_the_fittest_of_the_subnets_that_are_small_enough(lively: Lively[Supernet]) -> None:
    supernet = lively(Supernet("autospikformer", SPACE, **SETTINGS))
    labels = torch.tensor([0, 1])
    evolution = Evolution(population=4, rounds=2, n_kept=3, n_mutations=3, n_crossovers=3)
    most = supernet.n_parameters(supernet.largest) // 2
    found = search_subnets(supernet, _counts(), labels, most, evolution)
    _, reference_uj = judge_subnet(supernet, supernet.largest, _counts(), labels)
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)
    for score, candidate in found:
        assert supernet.n_parameters(candidate) <= most
        assert score == pytest.approx(fitness(*judge_subnet(supernet, candidate, _counts(), labels), reference_uj))
