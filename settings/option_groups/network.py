"""Settings of the network and of how the class rows are kept."""

from __future__ import annotations

from settings.option import Option, int_list, parse_bool, parse_factor, parse_image_size

STRUCTURE = "network and head"

NETWORK_OPTIONS = (
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
    Option("fc7_dtype", str, STRUCTURE, "bf16: class rows and moments in half the memory", choices=("float32", "bf16")),
    Option("fc7_storage", str, STRUCTURE, "mmap: Partial FC's rows in mapped files (CPU)", choices=("memory", "mmap")),
    Option("fc7_storage_dir", str, STRUCTURE, "folder of these files; empty: the run's folder in models_root"),
    Option("emb_size", int, STRUCTURE, "length of the embedding", at_least=1),
    Option("image_size", parse_image_size, STRUCTURE, "height and width of the images", at_least=1),
    Option("input_mean", float, STRUCTURE, "images are taken as (x - input_mean) * input_scale, x in 0..255"),
    Option("input_scale", parse_factor, STRUCTURE, "such as 1/128; 0: the network's own", at_least=0),
    Option("net_input", int, STRUCTURE, "first layers of fresnet: 0, 1 or 2; of mobilenet: 0 or 1"),
    Option("net_unit", int, STRUCTURE, "residual unit of fresnet and ir, 1 to 6"),
    Option("net_se", int, STRUCTURE, "squeeze-excitation in fresnet, ir and vargfacenet, 0 or 1"),
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
        "stochastic_depth",
        float,
        STRUCTURE,
        "share of images that skip a residual network's last unit in training",
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
)
