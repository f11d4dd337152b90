"""What a step is compiled to, and what the interpreter makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adamcompat.hyperparameters import Hyperparameters, neutral_values
from adamcompat.interpreter import Interpreter, StepNumbers, bind, value_of
from adamcompat.mapping.tables import MAPPING
from adamcompat.program import (
    ADD_DECAY,
    CENTRALIZE,
    CLIP_NORM,
    CLIP_VALUE,
    DECAY,
    DECAYED_RATE,
    DECOUPLED_DECAY,
    DIVIDE,
    GLOBAL_CLIP_NORM,
    MULTIPLY,
    NARROW_DECAY,
    NARROW_RATE,
    RATE,
    RECIPROCAL_SCALE,
    Average,
    Bound,
    Instruction,
    Program,
    Scalar,
    compile_step,
)
from adamcompat.schedules import Schedule

KERAS, MINDSPORE = MAPPING.dialects["keras3"], MAPPING.dialects["mindspore"]
ONCE, STEPWISE = MAPPING.numerics["canonical"], MAPPING.numerics["keras3"]
RECIPROCAL = MAPPING.numerics["mindspore"]
BASE = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}


def compiled(dialect: Any, numerics: Any, held: tuple[str, ...] = (), **given: Any) -> Program:
    return compile_step(dialect, numerics, Hyperparameters({**neutral_values(), **BASE, **given}, {}, {}), held=held)


@pytest.mark.parametrize(
    ("dialect", "numerics", "given", "stages"),
    [
        (KERAS, ONCE, {}, []),
        (KERAS, ONCE, {"loss_scale": 4.0}, [Instruction(DIVIDE, Scalar(4.0))]),
        (KERAS, RECIPROCAL, {"loss_scale": 4.0}, [Instruction(MULTIPLY, Scalar(0.25))]),
        (KERAS, ONCE, {"clip_norm": 2.0}, [Instruction(CLIP_NORM, Scalar(2.0))]),
        (KERAS, ONCE, {"global_clip_norm": 2.0}, [Instruction(GLOBAL_CLIP_NORM, Scalar(2.0))]),
        # A limit of 0 is a limit.
        (KERAS, ONCE, {"clip_value": 0.0}, [Instruction(CLIP_VALUE, Scalar(0.0))]),
        (KERAS, ONCE, {"decoupled_weight_decay": 0.1}, [Instruction(DECOUPLED_DECAY, Scalar(0.1, RATE))]),
        (KERAS, STEPWISE, {"decoupled_weight_decay": 0.1},
         [Instruction(DECOUPLED_DECAY, Scalar(float(np.float32(0.1))), Scalar(1.0, NARROW_RATE))]),
        (KERAS, ONCE, {"decoupled_weight_decay": Schedule(0.1, "decay")},
         [Instruction(DECOUPLED_DECAY, Scalar(1.0, DECAYED_RATE))]),
        (KERAS, STEPWISE, {"decoupled_weight_decay": Schedule(0.1, "decay")},
         [Instruction(DECOUPLED_DECAY, Scalar(1.0, NARROW_DECAY), Scalar(1.0, NARROW_RATE))]),
        # The loss scale is divided out after the decay, which must not depend on it.
        (MINDSPORE, ONCE, {"loss_scale": 4.0},
         [Instruction(ADD_DECAY, Scalar(4.0, DECAY)), Instruction(CENTRALIZE), Instruction(DIVIDE, Scalar(4.0))]),
        (replace(MINDSPORE, stages=("unscale", "l2_decay", "update")), ONCE, {"loss_scale": 4.0},
         [Instruction(DIVIDE, Scalar(4.0)), Instruction(ADD_DECAY, Scalar(1.0, DECAY))]),
    ],
)  # fmt: skip
def test_stages_become_instructions(dialect: Any, numerics: Any, given: Any, stages: list[Instruction]) -> None:
    assert list(compiled(dialect, numerics, **given).stages) == stages


def test_what_the_runtime_holds_is_a_number_of_the_step() -> None:
    program = compiled(MINDSPORE, RECIPROCAL, held=("loss_scale",))
    assert [instruction.a for instruction in program.stages] == [
        Scalar(1.0, DECAY), Scalar(1.0), Scalar(1.0, RECIPROCAL_SCALE)
    ]  # fmt: skip


def test_accumulation_cuts_a_program_in_two() -> None:
    program = compiled(KERAS, ONCE, accumulation_steps=3, loss_scale=2.0, clip_value=1.0)
    assert (program.every, len(program.each_call), len(program.stages)) == (3, 1, 1)
    assert (program.each_call[0].code, program.stages[0].code) == (DIVIDE, CLIP_VALUE)


def test_the_average_is_part_of_a_program() -> None:
    given: dict[str, Any] = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5}
    assert compiled(KERAS, ONCE, **given).average == Average(0.9, 5, starts_with_first_update=True)
    assert compiled(KERAS, ONCE).average is None


def test_a_decay_that_joins_the_update_is_no_stage() -> None:
    program = compiled(KERAS, replace(ONCE, decay="update"), decoupled_weight_decay=0.1)
    assert (program.stages, program.update.decays, program.update.decay) == ((), True, 0.1)
    changing = compiled(KERAS, replace(ONCE, decay="update"), decoupled_weight_decay=Schedule(0.1, "decay"))
    assert (changing.update.decays, changing.update.decay) == (True, None)


def test_numbers_of_a_step_are_named() -> None:
    numbers = StepNumbers(rate=0.1, decay=0.3, reciprocal_scale=0.5)
    assert numbers[NARROW_RATE] == float(np.float32(0.1)) != 0.1
    assert numbers[NARROW_DECAY] == float(np.float32(0.3)) != 0.3
    assert (numbers[DECAYED_RATE], numbers[RECIPROCAL_SCALE]) == (0.3 * 0.1, 0.5)
    assert value_of(Scalar(4.0, DECAY), numbers) == 1.2
    assert value_of(Scalar(4.0, DECAY), StepNumbers(rate=0.1)) is None
    assert StepNumbers(rate=0.1)[DECAYED_RATE] is None


def test_a_stage_without_its_number_or_for_others_is_left_out() -> None:
    numbers = StepNumbers(rate=0.5, decay=0.25)
    assert bind(ADD_DECAY, Scalar(1.0, DECAY), Scalar(1.0), numbers, decays=True) == (Bound(ADD_DECAY, 0.25, 1.0),)
    assert bind(ADD_DECAY, Scalar(1.0, DECAY), Scalar(1.0), numbers, decays=False) == ()
    assert bind(ADD_DECAY, Scalar(1.0, DECAY), Scalar(1.0), StepNumbers(rate=0.5), decays=True) == ()
    # Other stages reach every tensor.
    assert bind(CLIP_VALUE, Scalar(2.0), Scalar(1.0), numbers, decays=False) == (Bound(CLIP_VALUE, 2.0, 1.0),)


def test_an_interpreter_refuses_what_it_lacks() -> None:
    class Poor(Interpreter):
        lacks = (CLIP_NORM, ADD_DECAY)

    Poor().check(compiled(KERAS, ONCE, clip_value=1.0))
    with pytest.raises(NotImplementedError, match="Poor does not run clip_norm: write it there"):
        Poor().check(compiled(KERAS, ONCE, clip_norm=1.0))
    with pytest.raises(NotImplementedError, match="Poor does not run l2_decay"):
        Poor().check(
            compiled(replace(MINDSPORE, stages=("l2_decay", "accumulate", "update")), ONCE, accumulation_steps=2)
        )
