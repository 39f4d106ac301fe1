"""Settings of the head: its loss, margins and class rows."""

from __future__ import annotations

from settings.option import Option, parse_bool
from settings.option_groups.network import STRUCTURE

HEAD_OPTIONS = (
    Option("loss_s", float, STRUCTURE, "scale of the margin losses", above=0),
    Option("loss_m1", float, STRUCTURE, "angle factor of the combined margin cos(m1*theta + m2) - m3; SphereFace's m"),
    Option("loss_m2", float, STRUCTURE, "added angle of the combined margin; m of CurricularFace, MV-Arc, ElasticFace"),
    Option("loss_m3", float, STRUCTURE, "subtracted cosine of the combined margin; m of AdaFace, MV-AM, UniFace, ..."),
    Option("loss_h", float, STRUCTURE, "AdaFace: how much the margin depends on an embedding's length", at_least=0),
    Option(
        "loss_t_alpha",
        float,
        STRUCTURE,
        "CurricularFace, AdaFace: a step's share in the moving means",
        above=0,
        at_most=1,
    ),
    Option("loss_std", float, STRUCTURE, "ElasticFace: standard deviation of the margins", at_least=0),
    Option("loss_plus", parse_bool, STRUCTURE, "ElasticFace+: larger margins for images far from their centres"),
    Option("loss_m_min", float, STRUCTURE, "dynamic ArcFace: margin of the largest class", at_least=0),
    Option("loss_m_max", float, STRUCTURE, "dynamic ArcFace: margin of the smallest class", at_least=0),
    Option("loss_m_power", float, STRUCTURE, "dynamic ArcFace: margins go with size to minus this power", above=0),
    Option("loss_l", float, STRUCTURE, "UniFace: weight of the negatives", above=0),
    Option("loss_t", float, STRUCTURE, "MV-Softmax: how much more hard negatives weigh", at_least=0),
    Option("loss_gamma", float, STRUCTURE, "Circle loss: its scale", above=0),
    Option("loss_l_a", float, STRUCTURE, "MagFace: length of an embedding up to which the margin is smallest", above=0),
    Option("loss_u_a", float, STRUCTURE, "MagFace: length from which the margin is largest", above=0),
    Option("loss_l_margin", float, STRUCTURE, "MagFace: the smallest margin, an angle", at_least=0),
    Option("loss_u_margin", float, STRUCTURE, "MagFace: the largest margin, an angle", at_least=0),
    Option("loss_lambda_g", float, STRUCTURE, "MagFace: weight of the term that makes embeddings longer", at_least=0),
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
    Option(
        "images_per_identity",
        int,
        STRUCTURE,
        "images of a person in a triplet bag, at most; with --sampler pk: in a row",
        at_least=2,
    ),
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
    Option("easy_margin", parse_bool, STRUCTURE, "the margin for positive cosines alone"),
    Option(
        "label_smoothing",
        float,
        STRUCTURE,
        "share of the wanted probability that is spread over all classes, such as 0.1",
        at_least=0,
        below=1,
    ),
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
