"""Settings of the verification."""

from __future__ import annotations

from settings.option import Option, float_list, parse_bool, set_list, str_list

VERIFY = "verification"

VALIDATION_OPTIONS = (
    Option("do_validation_while_train", parse_bool, VERIFY, "verify while training"),
    Option("validation_interval", int, VERIFY, "train units between verifications", at_least=1),
)

SHARED_VERIFICATION_OPTIONS = (
    Option("val_targets", set_list, VERIFY, "verification sets, comma separated"),
    Option(
        "val_protocols",
        str_list,
        VERIFY,
        "evaluate too, on small sets: identify:DIR, megaface:DIR, ijb:DIR, groups:FILE; comma separated",
    ),
    Option("val_dataset_dir", str, VERIFY, "folder that holds the verification sets"),
    Option("val_data_part_num", int, VERIFY, "number of parts that must be in each set's folder; 0: any", at_least=0),
    Option(
        "val_batch_size",
        int,
        VERIFY,
        "images per step over all ranks; 0: val_batch_size_per_device x ranks",
        at_least=0,
    ),
    Option("val_batch_size_per_device", int, VERIFY, "images per step and rank", at_least=1),
    Option("nrof_folds", int, VERIFY, "folds of the verification", at_least=2),
    Option("far_targets", float_list, VERIFY, "false accept rates that verification gives thresholds for"),
)
