"""Settings of the schedule and of the optimiser."""

from __future__ import annotations

from settings.option import Option, float_list, int_list, parse_bool

SCHEDULE = "schedule and optimiser"

SCHEDULE_OPTIONS = (
    Option("train_unit", str, SCHEDULE, "what train_iter and the intervals count", choices=("batch", "epoch")),
    Option("train_iter", int, SCHEDULE, "length of the training", at_least=0),
    Option("max_steps", int, SCHEDULE, "batches after which the training ends in any case; 0: none", at_least=0),
    Option("end_epoch", int, SCHEDULE, "epochs after which the training ends in any case; 0: none", at_least=0),
    Option("lr", float, SCHEDULE, "learning rate at the start", at_least=0),
    Option("lr_steps", int_list, SCHEDULE, "batches at which the learning rate changes"),
    Option("scales", float_list, SCHEDULE, "learning rate / lr after each of lr_steps"),
    Option(
        "lr_steps_batch",
        int,
        SCHEDULE,
        "images per batch that lr_steps are meant for: they move with the batch; 0: they stay",
        at_least=0,
    ),
    Option(
        "lr_schedule",
        str,
        SCHEDULE,
        "step takes lr_steps and scales, the others fall to 0 at the end",
        choices=("step", "poly", "cosine"),
    ),
    Option("lr_power", float, SCHEDULE, "power of the schedule poly", above=0),
    Option(
        "warmup_steps",
        int,
        SCHEDULE,
        "batches in which the learning rate rises evenly to lr",
        ("--warmup_step",),
        at_least=0,
    ),
    Option("warmup_epochs", float, SCHEDULE, "the same in epochs", ("--warmup_epoch",), at_least=0),
    Option("optimizer", str, SCHEDULE, "SGD with momentum, or AdamW", choices=("sgd", "adamw")),
    Option("weight_decay", float, SCHEDULE, "L2 weight decay; with AdamW apart from the gradient", at_least=0),
    Option("momentum", float, SCHEDULE, "momentum of SGD", at_least=0, below=1),
    Option("adam_betas", float_list, SCHEDULE, "AdamW's share of the old mean and of the old variance, two numbers"),
    Option("adam_eps", float, SCHEDULE, "AdamW: added to the root of the variance", above=0),
    Option(
        "clip_gradient",
        float,
        SCHEDULE,
        "largest L2 norm of the gradient, longer ones are shortened; 0: any",
        at_least=0,
    ),
    Option(
        "gradient_accumulation",
        int,
        SCHEDULE,
        "pieces in which each rank computes its part of the batch",
        ("--gradient_acc",),
        at_least=1,
    ),
    Option("backbone_lr_mult", float, SCHEDULE, "learning rate factor of the backbone, above 0", at_least=0),
    Option(
        "layer_lr_decay",
        float,
        SCHEDULE,
        "learning rate factor of each layer of the backbone to the one after it, such as 0.95",
        above=0,
        at_most=1,
    ),
    Option(
        "freeze_backbone_steps",
        int,
        SCHEDULE,
        "batches at the start that train the class rows alone (also --head_only_steps); the backbone stays as it was "
        "loaded",
        ("--head_only_steps",),
        at_least=0,
    ),
    Option(
        "freeze_bn",
        parse_bool,
        SCHEDULE,
        "keep gammas, betas and running statistics of BatchNorm, and normalise by these",
    ),
    Option(
        "ema_decay",
        float,
        SCHEDULE,
        "keep, verify and save a moving average of the backbone's weights, such as 0.999; 0: none",
        at_least=0,
        below=1,
    ),
    Option("use_fp16", parse_bool, SCHEDULE, "mixed precision on GPUs with a loss scale; on a CPU this is use_bf16"),
    Option("fp16_scale", float, SCHEDULE, "factor on the loss, divided out of the gradients again; a power of 2"),
    Option(
        "fp16_scale_window",
        int,
        SCHEDULE,
        "double fp16_scale after this many good batches, halve it at overflows; 0: constant",
        at_least=0,
    ),
)
