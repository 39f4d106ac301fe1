"""Settings of the training data: where the images are, and how they are changed."""

from __future__ import annotations

from settings.option import Option, parse_bool

DATA = "training data"
COLORS = {0: "off", 1: "colours", 2: "colours and JPEG compression"}

DATA_OPTIONS = (
    Option("dataset_dir", str, DATA, "the training images: folder of OFRecord parts or with train.rec, or a .rec"),
    Option("name", str, DATA, "what to call your own set, of --dataset_dir without --dataset; default: its folder"),
    Option("num_classes", int, DATA, "number of identities; of your own set: as in the images", at_least=1),
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
        "sampler",
        str,
        DATA,
        "instance: each image once an epoch; class: as many images of each person; square_root: between them; pk: "
        "batches of people with images_per_identity images each",
        choices=("instance", "class", "square_root", "pk"),
    ),
    Option(
        "bad_images",
        str,
        DATA,
        "an image that cannot be decoded: stop, or skip it for another one of the same person",
        choices=("stop", "skip"),
    ),
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
)
