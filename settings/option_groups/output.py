"""Settings of what a run writes and of what it loads."""

from __future__ import annotations

from settings.choices import ALL_SNAPSHOTS, BEST_SNAPSHOT, BETTER_SNAPSHOT, NO_SNAPSHOTS
from settings.option import Option, parse_bool

OUTPUT = "snapshots and logs"
SNAPSHOTS = {
    NO_SNAPSHOTS: "no snapshots",
    BETTER_SNAPSHOT: "when better",
    ALL_SNAPSHOTS: "all",
    BEST_SNAPSHOT: "the best",
}

OUTPUT_OPTIONS = (
    Option("models_root", str, OUTPUT, "snapshots go to models_root/network-loss-dataset"),
    Option("extra_model_name", str, OUTPUT, "added to the name of the run's folder"),
    Option(
        "ckpt",
        int,
        OUTPUT,
        "snapshots: 0 none, 1 at verifications that are better, 2 all, 3 the best one alone",
        choices=SNAPSHOTS,
    ),
    Option("resume", parse_bool, OUTPUT, "continue from the newest snapshot there, if there is one"),
    Option("pretrained", str, OUTPUT, "start from this backbone: a snapshot, FILE.onnx, PREFIX,EPOCH, FILE.pth"),
    Option("partial_load", parse_bool, OUTPUT, "keep the layers of --pretrained that fit; the others start anew"),
    Option(
        "color_order",
        str,
        OUTPUT,
        "order of the channels that the file of --pretrained takes; snapshots take RGB",
        choices=("rgb", "bgr"),
    ),
    Option("label_map", str, OUTPUT, "file of pairs: class in the loaded snapshot, class here; others start randomly"),
    Option("ckpt_embedding", parse_bool, OUTPUT, "keep the backbone alone in snapshots: smaller, cannot resume"),
    Option("iter_num_in_snapshot", int, OUTPUT, "train units between snapshots; 0: none", at_least=0),
    Option("save_last_snapshot", parse_bool, OUTPUT, "write a snapshot at the end"),
    Option(
        "head_stats", int, OUTPUT, "batches between statistics of the class centres in the metrics; 0: none", at_least=0
    ),
    Option("ce_loss", parse_bool, OUTPUT, "lossvalue in the log: the cross entropy, of triplet losses the loss"),
    Option("loss_print_frequency", int, OUTPUT, "batches between two lines of the log", at_least=1),
)

SHARED_OUTPUT_OPTIONS = (
    Option("model_load_dir", str, OUTPUT, "the snapshot to load; to verify, any model that --pretrained takes"),
    Option("log_dir", str, OUTPUT, "folder of logs, metrics and TensorBoard files"),
)
