"""Check the settings of a teacher; ``engine.teacher_model`` opens it."""

from __future__ import annotations

from common.errors import require
from settings.config import Config

# Settings of a teacher, with their values for a run without one.
_FOR_TEACHERS = {
    "teacher_weight": 1.0,
    "teacher_cache": False,
    "teacher_color_order": "rgb",
    "teacher_input_mean": 127.5,
    "teacher_input_scale": 0.0,
}


def check_teacher(config: Config) -> None:
    """Check that what is said about a teacher comes with one.

    Raises:
        UserError: it does not.
    """
    given = [key for key, without in _FOR_TEACHERS.items() if config[key] != without]
    require(
        bool(config.teacher) or not given,
        f"{' and '.join(f'--{key} {config[key]}' for key in given)} needs --teacher: the trained network to learn from",
    )
