"""Loading a target, its capabilities, and what the suite makes of its mistakes."""

import numpy as np
import pytest

from gradverify.bench import LiveBench
from gradverify.cases import cases_of
from gradverify.conformance import Capabilities, ask, check_invariants, load_target
from gradverify.conformance.target import Driven, capabilities_of
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Verdict

HERE = "tests.conformance.test_target"
CASE = cases_of("tanh")[0]


class Tanh:
    """The shortest target that is right."""

    name = "tanh"

    def supports(self, case):
        return case.op == "tanh"

    def vjp(self, case):
        a = np.tanh(case.primals["z"])
        return a, lambda u: {"z": u * (1 - a**2)}


class NoSupports:
    name = "no supports"
    vjp = Tanh.vjp


def broken(pullback):
    class Broken(Tanh):
        def vjp(self, case):
            return np.tanh(case.primals["z"]), pullback

    return Driven(Broken()).vjp(CASE)[1]


def declaring(**said):
    """A factory of a target that declares this."""
    return type("Declaring", (Tanh,), said)


tanh = Tanh()
not_callable = 3
Dtypes = declaring(capabilities=Capabilities(dtypes=("float31",)))
OneDtype = declaring(capabilities=Capabilities(dtypes="float32"))
NoDtype = declaring(capabilities=Capabilities(dtypes=()))
Brain = declaring(capabilities=Capabilities(dtypes=("bfloat16",)))
LacksTypo = declaring(capabilities=Capabilities(lacks={"no-aliasin": "buffers are shared"}))
LacksForNoReason = declaring(capabilities=Capabilities(lacks={"no-aliasing": " "}))
Traits = declaring(traits=frozenset({"engin"}))
Nameless = declaring(name="")
Numbered = declaring(name=3)
Both = declaring(capabilities=Capabilities(devices=("cpu", "cuda")))
both = Both()


class Broken(Tanh):
    def __init__(self):
        raise OSError("no licence")


def needs(rank):
    return Tanh()


def makes_a_class():
    return Tanh


def on(device="cpu"):
    made = Tanh()
    made.name = device
    return made


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("package.module", "is written package.module:name"),
        ("no_such_package:target", "cannot be imported"),
        (f"{HERE}:nothing", "has no 'nothing'"),
        (f"{HERE}:not_callable", "is a int: it has no vjp and cannot be called"),
        (f"{HERE}:NoSupports", "has no supports"),
        (f"{HERE}:tanhh", "has no 'tanhh'; did you mean 'tanh'"),
        ("tests/conformance/test_target.py:tanh", f"did you mean {HERE}:tanh"),
        ("tests.conformance.test_targt:tanh", f"there is no module .*; did you mean '{HERE}'"),
        (f"{HERE}:Dtypes", "declares the dtype 'float31'; did you mean 'float32'"),
        (f"{HERE}:OneDtype", "declares dtypes='float32'; write a tuple"),
        (f"{HERE}:NoDtype", r"declares dtypes=\(\); write a tuple"),
        (f"{HERE}:Brain", "declares the dtype 'bfloat16'"),
        (f"{HERE}:LacksTypo", "declares that it lacks 'no-aliasin'; did you mean 'no-aliasing'"),
        (f"{HERE}:LacksForNoReason", "declares that it lacks 'no-aliasing' without a reason"),
        (f"{HERE}:Traits", "traits is a set of some of no-upstream"),
        (f"{HERE}:Nameless", "has the name ''; a name is a text"),
        (f"{HERE}:Numbered", "has the name 3; a name is a text"),
        (f"{HERE}:Broken", "(?s)cannot be made:.*test_target.py.*no licence"),
        (f"{HERE}:needs", "but it needs rank"),
        (f"{HERE}:makes_a_class", "is the class Tanh; make an object of it"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_reason(spec, said):
    with pytest.raises(UsageError, match=said):
        load_target(spec)


def test_an_object_a_class_and_a_factory_are_targets():
    assert load_target(f"{HERE}:tanh").name == load_target(f"{HERE}:Tanh").name == "tanh"


def test_a_device_that_a_target_does_not_take_is_refused():
    with pytest.raises(UsageError, match="does not take device="):
        load_target(f"{HERE}:Tanh", "cuda")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit"),
    ],
)
def test_a_module_that_does_not_import_shows_its_own_line_alone(tmp_path, monkeypatch, code, said):
    name = f"broken_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="cannot be imported") as caught:
        load_target(f"{name}:target")
    assert said in str(caught.value)
    assert code in str(caught.value)
    assert "importlib" not in str(caught.value)


def test_a_device_goes_to_what_takes_it():
    assert load_target(f"{HERE}:on", "cuda").name == "cuda"
    assert load_target(f"{HERE}:on").name == "cpu"


@pytest.mark.parametrize("name", ["tanh", "Tanh", "both", "Both"])
def test_the_device_where_a_target_is_anyway_may_be_named(name):
    assert load_target(f"{HERE}:{name}", "cpu").name == "tanh"


def test_an_object_cannot_be_moved_to_another_device():
    with pytest.raises(UsageError, match="is an object, which was made on cpu; for --gradverify-device=cuda name its"):
        load_target(f"{HERE}:both", "cuda")


@pytest.mark.parametrize(("answer", "said"), [(None, "returned None"), ("yes", "returned 'yes'")])
def test_supports_answers_true_or_false(answer, said):
    with pytest.raises(AdapterError, match=f"{said} for {CASE.name}; return True or False"):
        Driven(declaring(supports=lambda self, case: answer)()).supports(CASE)


def test_capabilities_of_another_type_are_refused():
    target = Tanh()
    target.capabilities = {"dtypes": ("float64",)}
    with pytest.raises(UsageError, match="capabilities is a dict"):
        capabilities_of(target)


def test_a_right_target_passes_every_check():
    report = ask(Tanh(), CASE)
    assert report.verdict == "pass", str(report)
    assert report.judged > 20


def test_what_a_target_declares_that_it_cannot_do_is_skipped_with_the_reason():
    target = Tanh()
    target.capabilities = Capabilities(layouts=False, zero_batch=False, lacks={"no-aliasing": "buffers are shared"})
    reasons = {f.check: f.why for f in ask(target, CASE, level="thorough").findings if f.verdict is Verdict.SKIPPED}
    assert reasons["upstream-layouts"] == reasons["primal-layouts"] == "the target declares layouts=False"
    assert reasons["zero-batch"] == "the target declares zero_batch=False"
    assert reasons["no-aliasing"] == "buffers are shared"


def test_a_backend_that_flushes_subnormals_says_so_and_gets_none():
    seen = []

    class Flushes(Tanh):
        capabilities = Capabilities(subnormals=False)

        def vjp(self, case):
            seen.append(case.primals["z"])
            return super().vjp(case)

    def tiny(target):
        seen.clear()
        check_invariants(target, invariants=["loss-scaling"], ops=["tanh"], max_examples=60)
        return any(np.any((z != 0) & (np.abs(z) < np.finfo(float).tiny)) for z in seen)

    keeps = Flushes()
    keeps.capabilities = Capabilities()
    assert tiny(keeps)
    assert not tiny(Flushes())


def test_a_target_that_writes_to_its_primals_is_caught_though_it_reads_them_from_the_case():
    class Overwrites(Tanh):
        def vjp(self, case):
            z = case.primals["z"]
            np.tanh(z, out=z)
            return z.copy(), lambda u: {"z": u * (1 - z**2)}

    failed = {f.check for f in ask(Overwrites(), CASE).findings if f.verdict is Verdict.FAIL}
    assert "primals-unchanged" in failed


def test_constants_are_no_narrower_than_the_primals_that_an_oracle_widens():
    seen = []

    class Looks(Tanh):
        def vjp(self, case):
            seen.append(case.constants["mean"].dtype)
            return super().vjp(case)

    case = cases_of("batch_norm_eval")[0]
    narrow = type(case)(
        name="c",
        op="tanh",
        primals={"z": np.ones(3)},
        constants={"mean": np.asarray(case.constants["mean"], np.float32)},
    )
    Driven(Looks()).vjp(narrow)
    assert seen == [np.float64]


def test_a_framework_that_refuses_subclasses_is_given_plain_arrays_when_rounding_is_measured():
    class Particular(Tanh):
        def vjp(self, case):
            if type(case.primals["z"]) is not np.ndarray:
                raise TypeError("ndarrays only")
            return super().vjp(case)

    bench = LiveBench(Driven(Particular()), CASE)
    floor = 16 * np.finfo(float).eps * np.abs(bench.gradients()["z"]).max()
    assert (bench.rounding("z") > floor).any()


def test_an_answer_that_is_not_a_pair_is_an_adapter_error():
    class Half(Tanh):
        def vjp(self, case):
            return np.tanh(case.primals["z"])

    with pytest.raises(AdapterError, match=r"returned ndarray, not \(out, pullback\)"):
        Driven(Half()).vjp(CASE)


@pytest.mark.parametrize(
    ("pullback", "said"),
    [
        (lambda u: (u,), "returned a tuple, not gradients by the names"),
        (lambda u: {}, "has no gradient for z"),
        (lambda u: {"z": "text"}, "gradient of z is a str"),
        (lambda u: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_a_pullback_that_breaks_the_protocol_is_an_adapter_error(pullback, said):
    with pytest.raises(AdapterError, match=said):
        broken(pullback)(np.ones(CASE.primals["z"].shape))


@pytest.mark.parametrize(("device", "wrong"), [("cuda:0", False), ("cpu", True)])
def test_a_target_on_a_gpu_is_handed_no_index_that_is_out_of_range(device, wrong):
    """There such an index is no exception: it ends every later call of the process."""
    outside = []

    class Rows:
        name = "rows"

        def __init__(self):
            self.device = device

        def vjp(self, case):
            table, rows = case.primals["table"], case.constants["indices"]
            if rows.max() >= len(table):
                outside.append(table.shape)
                raise IndexError("index out of range")

            def pullback(u):
                found = np.zeros_like(table)
                np.add.at(found, rows, u)
                return {"table": found}

            return table[rows], pullback

    for case in cases_of("embedding"):
        assert ask(Rows(), case).verdict == "pass"
    assert bool(outside) == wrong
