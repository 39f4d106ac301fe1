"""Settings of a larger network that teaches."""

from __future__ import annotations

from settings.option import Option, parse_bool, parse_factor

TEACHER = "teacher"

TEACHER_OPTIONS = (
    Option(
        "teacher", str, TEACHER, "learn from this trained network too: a snapshot, FILE.onnx, PREFIX,EPOCH, FILE.pth"
    ),
    Option(
        "teacher_weight", float, TEACHER, "weight in the loss of the distance to the teacher's embeddings", at_least=0
    ),
    Option(
        "teacher_logits",
        float,
        TEACHER,
        "weight in the loss of the divergence from the teacher's softmax over the same classes",
        at_least=0,
    ),
    Option(
        "teacher_temperature",
        float,
        TEACHER,
        "with teacher_logits: divides the logits of teacher and student",
        at_least=0.01,
        at_most=1000,
    ),
    Option(
        "teacher_cache",
        parse_bool,
        TEACHER,
        "embed each image once, unchanged, and keep the embeddings in a file in models_root",
    ),
    Option(
        "teacher_color_order",
        str,
        TEACHER,
        "order of the channels that the file of --teacher takes; snapshots take RGB",
        choices=("rgb", "bgr"),
    ),
    Option("teacher_input_mean", float, TEACHER, "subtracted from the pixels where the teacher's file does not say it"),
    Option(
        "teacher_input_scale", parse_factor, TEACHER, "the factor after that; 0: the file's own, or 1/127.5", at_least=0
    ),
)
