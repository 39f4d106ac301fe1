"""The settings of a run in one table, each with its type, range and help; their defaults are in sample_config.py.

Each is a flag of the same name. A file of ``settings/option_groups`` has those of one kind.
"""

from __future__ import annotations

from settings.option_groups.data import DATA_OPTIONS
from settings.option_groups.head import HEAD_OPTIONS
from settings.option_groups.network import NETWORK_OPTIONS
from settings.option_groups.output import OUTPUT_OPTIONS, SHARED_OUTPUT_OPTIONS
from settings.option_groups.running import COMMUNICATION_OPTIONS, NAMES, RUN_OPTIONS
from settings.option_groups.schedule import SCHEDULE_OPTIONS
from settings.option_groups.teacher import TEACHER_OPTIONS
from settings.option_groups.verification import SHARED_VERIFICATION_OPTIONS, VALIDATION_OPTIONS

SHARED_OPTIONS = SHARED_OUTPUT_OPTIONS + SHARED_VERIFICATION_OPTIONS
TRAIN_TABLE = (
    NAMES
    + RUN_OPTIONS
    + NETWORK_OPTIONS
    + HEAD_OPTIONS
    + COMMUNICATION_OPTIONS
    + DATA_OPTIONS
    + SCHEDULE_OPTIONS
    + TEACHER_OPTIONS
    + OUTPUT_OPTIONS
    + VALIDATION_OPTIONS
    + SHARED_OPTIONS
)
