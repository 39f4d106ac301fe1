"""Settings of where a run takes place: its device, ranks and machines."""

from __future__ import annotations

from settings.option import Option, parse_bool, str_list

RUN = "where it runs"

NAMES = (
    Option("network", str, RUN, "network of sample_config.py"),
    Option("dataset", str, RUN, "known dataset, of sample_config.py; omit it for your own set: --dataset_dir"),
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
    Option(
        "join_token",
        str,
        RUN,
        "file with the secret that joins machines, which node 0 writes if need be; empty: join_token in models_root",
    ),
    Option("rank_timeout", int, RUN, "seconds without a heartbeat after which a rank counts as hung", at_least=1),
    Option("native_ops", parse_bool, RUN, "compute on the CPU by the kernels of ops/native, if they can be had"),
    Option("use_bf16", parse_bool, RUN, "backbone on the CPU in bfloat16, with float32 sums, weights and head"),
    Option("recompute", parse_bool, RUN, "CPU: compute most feature maps again instead of keeping them: less memory"),
)

COMMUNICATION_OPTIONS = (
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
)
