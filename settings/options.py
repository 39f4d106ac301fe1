"""The settings of a run in one table, each with its type, range and help; their defaults are in sample_config.py.

Each is a flag of the same name.
"""

from __future__ import annotations

from settings.choices import ALL_SNAPSHOTS, BEST_SNAPSHOT, BETTER_SNAPSHOT, NO_SNAPSHOTS
from settings.option import Option, float_list, int_list, parse_bool, parse_image_size, str_list

RUN = "where it runs"
STRUCTURE = "network and head"
DATA = "training data"
SCHEDULE = "schedule and optimiser"
OUTPUT = "snapshots and logs"
VERIFY = "verification"

COLORS = {0: "off", 1: "colours", 2: "colours and JPEG compression"}
SNAPSHOTS = {
    NO_SNAPSHOTS: "no snapshots",
    BETTER_SNAPSHOT: "when better",
    ALL_SNAPSHOTS: "all",
    BEST_SNAPSHOT: "the best",
}

NAMES = (
    Option("network", str, RUN, "network of sample_config.py"),
    Option("dataset", str, RUN, "dataset of sample_config.py"),
    Option("loss", str, RUN, "loss of sample_config.py"),
)

RUN_OPTIONS = (
    Option("device", str, RUN, "auto takes the GPUs if there are any", choices=("auto", "cuda", "cpu")),
    Option("device_num_per_node", int, RUN, "ranks per node; 0: all visible GPUs, or one CPU rank", at_least=0),
    Option("num_nodes", int, RUN, "number of machines", at_least=1),
    Option("node_rank", int, RUN, "this machine's place among them, from 0", at_least=0),
    Option("node_ips", str_list, RUN, "the machines' addresses, first the one that the others connect to"),
    Option(
        "master_port",
        int,
        RUN,
        "port of the first machine that the others connect to; 0: any (one node only)",
        at_least=0,
    ),
    Option("rank_timeout", int, RUN, "seconds without a heartbeat after which a rank counts as hung", at_least=1),
    Option("native_ops", parse_bool, RUN, "compute on the CPU by the kernels of ops/native, if they can be had"),
    Option("use_bf16", parse_bool, RUN, "backbone on the CPU in bfloat16, with float32 sums, weights and head"),
)

MODEL_OPTIONS = (
    Option("model_parallel", parse_bool, STRUCTURE, "split the fc7 weight over the ranks"),
    Option("partial_fc", parse_bool, STRUCTURE, "Partial FC: a sample of the classes takes part in each step"),
    Option(
        "sample_ratio",
        float,
        STRUCTURE,
        "share of each rank's classes in the samples of Partial FC",
        above=0,
        at_most=1,
    ),
    Option("fc7_storage", str, STRUCTURE, "mmap: Partial FC's rows in mapped files (CPU)", choices=("memory", "mmap")),
    Option("fc7_storage_dir", str, STRUCTURE, "folder of these files; empty: the run's folder in models_root"),
    Option("emb_size", int, STRUCTURE, "length of the embedding", at_least=1),
    Option("image_size", parse_image_size, STRUCTURE, "height and width of the images", at_least=1),
    Option("net_input", int, STRUCTURE, "first layers of fresnet: 0, 1 or 2; of mobilenet: 0 or 1"),
    Option("net_unit", int, STRUCTURE, "residual unit of fresnet, 1 to 4"),
    Option("net_se", int, STRUCTURE, "squeeze-excitation in fresnet and vargfacenet, 0 or 1"),
    Option("net_act", str, STRUCTURE, "activation: prelu, relu, sigmoid, tanh, ..."),
    Option("net_output", str, STRUCTURE, "output layer type: E, FC, GDC, ..."),
    Option("net_blocks", int_list, STRUCTURE, "blocks per stage (MobileFaceNet)"),
    Option("net_multiplier", float, STRUCTURE, "factor of a mobile network's widths", above=0),
    Option(
        "densenet_dropout",
        float,
        STRUCTURE,
        "share that dropout leaves out behind each layer of densenet",
        at_least=0,
        below=1,
    ),
    Option(
        "vit_drop_path",
        float,
        STRUCTURE,
        "share of images that skip a transformer's last block in training",
        at_least=0,
        below=1,
    ),
    Option(
        "vit_mask_ratio",
        float,
        STRUCTURE,
        "share of the patches that a transformer does not see in training",
        at_least=0,
        below=1,
    ),
    Option(
        "bn_mom",
        float,
        STRUCTURE,
        "BatchNorm momentum, the share of the old statistics that is kept",
        at_least=0,
        below=1,
    ),
    Option("sync_bn", parse_bool, STRUCTURE, "BatchNorm in training over the batch of all ranks, not of each"),
    Option("count_flops", parse_bool, STRUCTURE, "print the network's FLOPs and parameters at start"),
    Option("loss_s", float, STRUCTURE, "scale of the margin losses", above=0),
    Option("loss_m1", float, STRUCTURE, "angle factor of the combined margin cos(m1*theta + m2) - m3; SphereFace's m"),
    Option("loss_m2", float, STRUCTURE, "added angle of the combined margin; CurricularFace's m"),
    Option("loss_m3", float, STRUCTURE, "subtracted cosine of the combined margin; AdaFace's m"),
    Option("loss_h", float, STRUCTURE, "AdaFace: how much the margin depends on an embedding's length", at_least=0),
    Option(
        "loss_t_alpha",
        float,
        STRUCTURE,
        "CurricularFace, AdaFace: a step's share in the moving means",
        above=0,
        at_most=1,
    ),
    Option("loss_b", float, STRUCTURE, "weight of the second term of the intra- and the inter-loss", at_least=0),
    Option(
        "loss_lambda_base",
        float,
        STRUCTURE,
        "SphereFace: lambda = max(min, base * (1 + gamma*step)^-power)",
        at_least=0,
    ),
    Option("loss_lambda_gamma", float, STRUCTURE, "SphereFace: gamma of its lambda", at_least=0),
    Option("loss_lambda_power", float, STRUCTURE, "SphereFace: power of its lambda", at_least=0),
    Option("loss_lambda_min", float, STRUCTURE, "SphereFace: the smallest lambda", at_least=0),
    Option("images_per_identity", int, STRUCTURE, "triplet losses: images of a person in a bag, at most", at_least=2),
    Option(
        "triplet_bag_size",
        int,
        STRUCTURE,
        "images of all ranks together that triplets are chosen from at a time",
        at_least=1,
    ),
    Option(
        "triplet_alpha",
        float,
        STRUCTURE,
        "margin of the triplet losses, and of the choice of triplets",
        above=0,
        at_most=1,
    ),
    Option("triplet_max_ap", float, STRUCTURE, "leave out positives at a larger squared distance; 0: none", at_least=0),
    Option(
        "loss_lambda_freeze",
        int,
        STRUCTURE,
        "batches before lambda begins to fall; lr_steps count from there",
        at_least=0,
    ),
    Option("easy_margin", parse_bool, STRUCTURE, "the combined margin for positive cosines alone"),
    Option(
        "interclass_filtering_threshold",
        float,
        STRUCTURE,
        "leave out negatives with a larger cosine; 0: none",
        at_least=0,
        below=1,
    ),
    Option(
        "num_subcenters", int, STRUCTURE, "rows per class, of which the nearest counts (Sub-center ArcFace)", at_least=1
    ),
    Option("fc7_no_bias", parse_bool, STRUCTURE, "softmax without a bias"),
    Option("fc7_lr_mult", float, STRUCTURE, "learning rate factor of the fc7 weight", at_least=0),
    Option("fc7_wd_mult", float, STRUCTURE, "weight decay factor of the fc7 weight", at_least=0),
)

TRAIN_OPTIONS = (
    Option(
        "nccl_fusion_threshold_mb",
        int,
        RUN,
        "GPUs: megabytes that transfers are put together to; 0: OneFlow's",
        at_least=0,
    ),
    Option(
        "nccl_fusion_max_ops",
        int,
        RUN,
        "GPUs: how many transfers are put together at most; 0: OneFlow's own",
        at_least=0,
    ),
    Option("dataset_dir", str, DATA, "folder of the training OFRecord parts"),
    Option("num_classes", int, DATA, "number of identities", at_least=1),
    Option("total_img_num", int, DATA, "number of images of the synthetic data", at_least=0),
    Option("train_data_part_num", int, DATA, "number of parts that must be there; 0: any", at_least=0),
    Option("use_synthetic_data", parse_bool, DATA, "train on synthetic images, without verification"),
    Option(
        "train_batch_size",
        int,
        DATA,
        "images per step over all ranks; 0: train_batch_size_per_device x ranks",
        at_least=0,
    ),
    Option("train_batch_size_per_device", int, DATA, "images per step and rank; 0 as a flag: 128, MXNet's", at_least=1),
    Option("num_workers", int, DATA, "decoding processes per rank; 0 decodes in the rank itself", at_least=0),
    Option("data_rand_mirror", parse_bool, DATA, "mirror half of the images"),
    Option("data_shift", float, DATA, "move each image by up to this many pixels", at_least=0),
    Option("data_zoom", float, DATA, "zoom each image by up to this share, 0.1: 0.9 to 1.1 times", at_least=0, below=1),
    Option("data_rotation", float, DATA, "turn each image by up to this many degrees", at_least=0, at_most=180),
    Option("data_stretch", float, DATA, "widen or narrow each image by up to this share", at_least=0, below=1),
    Option(
        "data_contrast",
        float,
        DATA,
        "move pixels away from the image's mean, or towards it, by up to this share",
        at_least=0,
        below=1,
    ),
    Option(
        "data_brightness",
        float,
        DATA,
        "brighten or darken by up to this share of the image's mean",
        at_least=0,
        below=1,
    ),
    Option("data_color", int, DATA, "1: change colours a little; 2: strong JPEG compression too", choices=COLORS),
    Option("data_cutoff", int, DATA, "side of a grey square in half of the images, in pixels"),
    Option("data_images_filter", int, DATA, "leave out identities with fewer images", at_least=0),
    Option(
        "crop_augmentation_prob",
        float,
        DATA,
        "share of images of which only a rectangle is left, on black",
        at_least=0,
        at_most=1,
    ),
    Option("low_res_augmentation_prob", float, DATA, "share of images that lose resolution", at_least=0, at_most=1),
    Option(
        "photometric_augmentation_prob",
        float,
        DATA,
        "share of images whose colours change strongly",
        at_least=0,
        at_most=1,
    ),
    Option("seed", int, DATA, "the source of all randomness", at_least=0, at_most=2**63 - 1),
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
    Option("use_fp16", parse_bool, SCHEDULE, "mixed precision on GPUs with a loss scale; on a CPU this is use_bf16"),
    Option("fp16_scale", float, SCHEDULE, "factor on the loss, divided out of the gradients again; a power of 2"),
    Option(
        "fp16_scale_window",
        int,
        SCHEDULE,
        "double fp16_scale after this many good batches, halve it at overflows; 0: constant",
        at_least=0,
    ),
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
    Option("label_map", str, OUTPUT, "file of pairs: class in the loaded snapshot, class here; others start randomly"),
    Option("ckpt_embedding", parse_bool, OUTPUT, "keep the backbone alone in snapshots: smaller, cannot resume"),
    Option("iter_num_in_snapshot", int, OUTPUT, "train units between snapshots; 0: none", at_least=0),
    Option("save_last_snapshot", parse_bool, OUTPUT, "write a snapshot at the end"),
    Option(
        "head_stats", int, OUTPUT, "batches between statistics of the class centres in the metrics; 0: none", at_least=0
    ),
    Option("ce_loss", parse_bool, OUTPUT, "lossvalue in the log: the cross entropy, of triplet losses the loss"),
    Option("loss_print_frequency", int, OUTPUT, "batches between two lines of the log", at_least=1),
    Option("do_validation_while_train", parse_bool, VERIFY, "verify while training"),
    Option("validation_interval", int, VERIFY, "train units between verifications", at_least=1),
)

SHARED_OPTIONS = (
    Option("model_load_dir", str, OUTPUT, "the snapshot to load; to verify, any model that --pretrained takes"),
    Option("log_dir", str, OUTPUT, "folder of logs, metrics and TensorBoard files"),
    Option("val_targets", str_list, VERIFY, "verification sets, comma separated"),
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
)

TRAIN_TABLE = NAMES + RUN_OPTIONS + MODEL_OPTIONS + TRAIN_OPTIONS + SHARED_OPTIONS
