"""What a contract check caught is named after it, by the first cause, in both ways of driving the code."""

import pytest

from gradverify import registry
from gradverify.bench import LiveBench
from gradverify.causes._rank import name_causes
from gradverify.evidence import evidence_of
from tests.bench import wrong
from tests.causes.mutated import mutated
from tests.checks.right import RIGHT
from tests.mutants.test_mutants import CONTRACT, ORACLE, SCENE


@pytest.mark.parametrize("mutant", [e for e in CONTRACT if e.meta["caught_by"] != ORACLE], ids=lambda e: e.name)
def test_the_cause_named_by_a_contract_mutant_comes_first(mutant):
    check = mutant.meta["caught_by"]
    right = RIGHT[SCENE.get(mutant.name, SCENE.get(check, "affine"))]()
    bench = LiveBench(mutant.item(right.adapter), right.case)
    if registry.check[check].meta.get("elsewhere"):
        bench.settled()  # as a run does first
    found = wrong(registry.check[check].item(bench))
    named = [[c.name for c in name_causes(m, evidence_of(bench, check))] for m in found]
    assert mutant.meta["causes"] in {names[0] for names in named if names}, named


#: what else may be said first of a gradient mutant, because it is as true of that primal; empty: nothing need be said
ALSO = {
    "row-zeroed": {"zeroed-entries", "dropped-samples"},
    "columns-reweighted": set(),
    "absolute": set(),
    "summed-over-columns": {"wrong-axis"},
    "upstream-divided-out": {"upstream-ignored", "missing-term"},
}


@pytest.mark.parametrize(
    "mutant", [e for e in registry.mutant.entries() if e.meta["kind"] == "gradient"], ids=lambda e: e.name
)
@pytest.mark.parametrize("scene", ["affine", "network", "broadcast product"])
def test_the_cause_named_by_a_gradient_mutant_comes_first(mutant, scene):
    named = mutated(mutant, RIGHT[scene]())
    if named is None:
        pytest.skip(f"{mutant.name} does not apply to {scene}")
    allowed = ALSO.get(mutant.name, {mutant.meta["causes"]})
    assert all(not names or names[0] in allowed or not allowed for names in named.values()), named
    assert not allowed or any(named.values()), named
