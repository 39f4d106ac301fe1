"""Check the settings of a teacher; ``engine.teacher_model`` opens it."""

from __future__ import annotations

from common.errors import require
from settings.config import Config

# Settings of a teacher, with their values for a run without one.
_FOR_TEACHERS = {
    "teacher_weight": 1.0,
    "teacher_logits": 0.0,
    "teacher_temperature": 1.0,
    "teacher_cache": False,
    "teacher_color_order": "rgb",
    "teacher_input_mean": 127.5,
    "teacher_input_scale": 0.0,
}


def check_teacher(config: Config) -> None:
    """Check that what is said about a teacher comes with one, and that the loss can learn from it what is asked for.

    Raises:
        UserError: there is no teacher, nothing is to be learned from it, or the loss does not compute cosines.
    """
    given = [key for key, without in _FOR_TEACHERS.items() if config[key] != without]
    require(
        bool(config.teacher) or not given,
        f"{' and '.join(f'--{key} {config[key]}' for key in given)} needs --teacher: the trained network to learn from",
    )
    if not config.teacher:
        return
    require(
        bool(config.teacher_weight or config.teacher_logits),
        "--teacher_weight 0 and --teacher_logits 0 learn nothing from --teacher; give one of them",
    )
    require(
        bool(config.teacher_logits) or config.teacher_temperature == 1,
        f"--teacher_temperature {config.teacher_temperature:g} is about --teacher_logits; give both",
    )
    require(
        not config.teacher_logits or config.loss_name != "softmax",
        f"--teacher_logits {config.teacher_logits:g} compares cosines with class rows, and --loss {config.loss} "
        "multiplies embeddings of any length; use a loss on cosines, such as arcface",
    )
