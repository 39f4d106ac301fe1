"""Networks, datasets, losses and defaults. Copy this file to ``config.py`` and edit it: config.py wins when present.

A run's settings are resolved in this order, later ones win: ``default`` and ``config``, then the chosen loss, network
and dataset, then the command line. Most keys have a flag of the same name: ``default.lr`` is ``--lr``.
"""

from easydict import EasyDict as edict

# ---------------------------------------------------------------- structure of the network and of the head
config = edict()
config.image_size = 112
config.input_mean = 127.5
config.input_scale = 0.0  # 0: that of the network, 1/128 or 1/127.5
config.emb_size = 512
config.net_unit = 3
config.net_input = 1
config.net_se = 0
config.net_act = "prelu"
config.net_blocks = [1, 4, 6, 2]
config.net_output = "E"
config.net_multiplier = 1.0
config.densenet_dropout = 0.0
config.vit_drop_path = 0.0
config.stochastic_depth = 0.0
config.vit_mask_ratio = 0.0
config.bn_mom = 0.9
config.sync_bn = False
config.count_flops = True
config.loss_s = 64.0
config.loss_m1 = 1.0
config.loss_m2 = 0.0
config.loss_m3 = 0.0
config.loss_h = 0.333
config.loss_t_alpha = 0.01
config.loss_std = 0.05
config.loss_plus = False
config.loss_m_min = 0.05
config.loss_m_max = 0.5
config.loss_m_power = 0.25
config.loss_l = 1.0
config.loss_t = 0.2
config.loss_gamma = 256.0
config.loss_l_a = 10.0
config.loss_u_a = 110.0
config.loss_l_margin = 0.45
config.loss_u_margin = 0.8
config.loss_lambda_g = 35.0
config.loss_b = 1.0
config.loss_lambda_base = 1000.0
config.loss_lambda_gamma = 0.12
config.loss_lambda_power = 1.0
config.loss_lambda_min = 5.0
config.images_per_identity = 5
config.triplet_alpha = 0.3
config.triplet_bag_size = 7200
config.triplet_max_ap = 0.0
config.loss_lambda_freeze = 0
config.easy_margin = False
config.label_smoothing = 0.0
config.interclass_filtering_threshold = 0.0
config.num_subcenters = 1
config.fc7_lr_mult = 1.0
config.fc7_wd_mult = 1.0
config.fc7_no_bias = False
config.data_rand_mirror = True
config.data_shift = 0.0
config.data_zoom = 0.0
config.data_rotation = 0.0
config.data_stretch = 0.0
config.data_contrast = 0.0
config.data_brightness = 0.0
config.data_color = 0
config.data_cutoff = 0
config.data_images_filter = 0
config.crop_augmentation_prob = 0.0
config.low_res_augmentation_prob = 0.0
config.photometric_augmentation_prob = 0.0
config.ce_loss = True
config.val_targets = ["lfw", "cfp_fp", "agedb_30"]
config.ckpt_embedding = False

# ---------------------------------------------------------------- networks
network = edict()

# LResNet-IR of InsightFace's MXNet trainer, in all its depths; net_se, net_unit and net_input vary them.
# r49 equals r50 and comes after it, so that converted files are recognised as r50.
for _depth in (18, 34, 50, 49, 74, 90, 98, 99, 100, 101, 124, 134, 136, 140, 152, 160, 200, 269):
    network[f"r{_depth}"] = edict(net_name="fresnet", num_layers=_depth)
network.r50v1 = edict(net_name="fresnet", num_layers=50, net_unit=1)
network.r100fc = edict(net_name="fresnet", num_layers=100, net_output="FC")
network.r100_glint360k = edict(net_name="fresnet", num_layers=100, net_output="FC")

network.y1 = edict(net_name="fmobilefacenet", emb_size=128, net_output="GDC", net_blocks=[1, 4, 6, 2])
network.y2 = edict(net_name="fmobilefacenet", emb_size=256, net_output="GDC", net_blocks=[2, 8, 16, 4])
network.m1 = edict(net_name="fmobilenet", emb_size=256, net_output="GDC", net_multiplier=1.0)
network.m05 = edict(net_name="fmobilenet", emb_size=256, net_output="GDC", net_multiplier=0.5)
network.mnas = edict(net_name="fmnasnet", emb_size=256, net_output="GDC", net_multiplier=1.0)
network.mnas05 = edict(net_name="fmnasnet", emb_size=256, net_output="GDC", net_multiplier=0.5)
network.mnas025 = edict(net_name="fmnasnet", emb_size=256, net_output="GDC", net_multiplier=0.25)
network.d169 = edict(net_name="fdensenet", num_layers=169, train_batch_size_per_device=64)
network.d201 = edict(net_name="fdensenet", num_layers=201, train_batch_size_per_device=64)
network.vargfacenet = edict(net_name="vargfacenet", emb_size=512, net_output="J", net_multiplier=1.25)

# Networks of InsightFace's PyTorch trainer: other constants, and iresnet200 has another number of layers than r200.
for _depth in (18, 34, 50, 100, 200):
    network[f"iresnet{_depth}"] = edict(net_name="iresnet", num_layers=_depth, net_output="FC")
# Networks of AdaFace, TFace and CVLFace; net_unit=6 makes them those of face.evoLVe, InsightFace_Pytorch and FaceX-Zoo.
for _depth, _layers in ((18, 18), (50, 50), (101, 100)):
    network[f"ir{_depth}"] = edict(net_name="ir", num_layers=_layers, net_unit=5)
network.irse50 = edict(net_name="ir", num_layers=50, net_unit=5, net_se=1)
network.mbf = edict(net_name="mbf", net_output="GDC", net_multiplier=2.0, net_blocks=[1, 4, 6, 2])
network.mbf_large = edict(net_name="mbf", net_output="GDC", net_multiplier=4.0, net_blocks=[2, 8, 12, 4])
_masked = {"net_name": "vit", "vit_drop_path": 0.1, "vit_mask_ratio": 0.1}
network.vit_t = edict(num_layers=12, vit_width=256, **_masked)
network.vit_s = edict(num_layers=12, vit_width=512, **_masked)
network.vit_b = edict(num_layers=24, vit_width=512, **_masked)
network.vit_t_dp005_mask0 = edict(net_name="vit", num_layers=12, vit_width=256, vit_drop_path=0.05)
network.vit_s_dp005_mask_0 = edict(net_name="vit", num_layers=12, vit_width=512, vit_drop_path=0.05)
_masked = {"net_name": "vit", "vit_drop_path": 0.05, "vit_mask_ratio": 0.05}
network.vit_b_dp005_mask_005 = edict(num_layers=24, vit_width=512, **_masked)
network.vit_l_dp005_mask_005 = edict(num_layers=24, vit_width=768, **_masked)

# ---------------------------------------------------------------- datasets
# dataset_dir holds the training images (OFRecord parts or train.rec), val_dataset_dir one folder (or .bin) per
# verification set. Your own set needs no entry: --dataset_dir alone takes everything from the images.
dataset = edict()

dataset.emore = edict()
dataset.emore.num_classes = 85742
dataset.emore.total_img_num = 5822653
dataset.emore.dataset_dir = "datasets/faces_emore/ofrecord/train"
dataset.emore.val_dataset_dir = "datasets/faces_emore/ofrecord"
dataset.emore.val_targets = ["lfw", "cfp_fp", "agedb_30"]
dataset.emore.train_iter = 180000
dataset.emore.lr_steps = [100000, 140000, 160000]
dataset.emore.scales = [0.1, 0.01, 0.001]

dataset.retina = edict()
dataset.retina.num_classes = 93431
dataset.retina.total_img_num = 5179510
dataset.retina.dataset_dir = "datasets/ms1m-retinaface-t1/ofrecord/train"
dataset.retina.val_dataset_dir = "datasets/ms1m-retinaface-t1/ofrecord"
dataset.retina.val_targets = ["lfw", "cfp_fp", "agedb_30"]

dataset.glint360k_8GPU = edict()
dataset.glint360k_8GPU.num_classes = 360232
dataset.glint360k_8GPU.total_img_num = 17091657
dataset.glint360k_8GPU.dataset_dir = "datasets/glint360k/ofrecord/train"
dataset.glint360k_8GPU.val_dataset_dir = "datasets/glint360k/ofrecord"
dataset.glint360k_8GPU.val_targets = ["lfw", "cfp_fp", "agedb_30"]
dataset.glint360k_8GPU.train_iter = 600000
dataset.glint360k_8GPU.lr_steps = [200000, 400000, 500000, 550000]
dataset.glint360k_8GPU.scales = [0.1, 0.01, 0.001, 0.0001]

# The AT&T (ORL) faces: small enough for a laptop's CPU, and real faces, to test the whole job.
dataset.orl = edict()
dataset.orl.num_classes = 30
dataset.orl.total_img_num = 300
dataset.orl.dataset_dir = "datasets/faces_orl/ofrecord/train"
dataset.orl.val_dataset_dir = "datasets/faces_orl/ofrecord"
dataset.orl.val_targets = ["orl"]
dataset.orl.train_batch_size = 60
dataset.orl.train_iter = 100
dataset.orl.lr = 0.05
dataset.orl.lr_steps = []
dataset.orl.scales = []
dataset.orl.loss_s = 30.0
dataset.orl.images_per_identity = 10
dataset.orl.triplet_bag_size = 300
dataset.orl.bn_mom = 0.8
dataset.orl.data_shift = 6.0
dataset.orl.data_zoom = 0.1
dataset.orl.iter_num_in_snapshot = 25
dataset.orl.validation_interval = 25
dataset.orl.loss_print_frequency = 5

# ---------------------------------------------------------------- losses
loss = edict()
loss.softmax = edict(loss_name="softmax")
loss.nsoftmax = edict(loss_name="margin_softmax", loss_m1=1.0, loss_m2=0.0, loss_m3=0.0)
loss.arcface = edict(loss_name="margin_softmax", loss_m1=1.0, loss_m2=0.5, loss_m3=0.0)
loss.arc_loss = edict(loss_name="arc_loss", loss_m2=0.5)  # ArcFace's first version
loss.cosface = edict(loss_name="margin_softmax", loss_m1=1.0, loss_m2=0.0, loss_m3=0.35)
loss.combined = edict(loss_name="margin_softmax", loss_m1=1.0, loss_m2=0.3, loss_m3=0.2)
loss.sphereface = edict(loss_name="sphereface", loss_m1=4.0)
loss.curricularface = edict(loss_name="curricularface", loss_m2=0.5)
loss.adaface = edict(loss_name="adaface", loss_m3=0.4)
loss.magface = edict(loss_name="magface", easy_margin=True)
loss.mv_am = edict(loss_name="mv_softmax", loss_s=32.0, loss_m3=0.35, easy_margin=True)
loss.mv_arc = edict(loss_name="mv_softmax", loss_s=32.0, loss_m2=0.5, easy_margin=True)
loss.circle = edict(loss_name="circle", loss_m3=0.25)
loss.elastic_arcface = edict(loss_name="elasticface", loss_m2=0.5)
loss.elastic_cosface = edict(loss_name="elasticface", loss_m3=0.35)
loss.dynamic_arcface = edict(loss_name="dynamic_arcface")
loss.adacos = edict(loss_name="adacos")
loss.uniface = edict(loss_name="uniface", loss_m3=0.4)
# The loss types 6 and 7 of train_softmax.py.
loss.intra = edict(loss_name="intra", loss_m2=0.5)
loss.inter = edict(loss_name="inter", loss_m2=0.5)
# Without class centres: batches of anchors, positives and negatives. Start from a network trained on faces.
loss.triplet = edict(loss_name="triplet", triplet_alpha=0.3, train_batch_size_per_device=60, lr=0.05)
loss.atriplet = edict(loss_name="atriplet", triplet_alpha=0.35, train_batch_size_per_device=60, lr=0.05)

# ---------------------------------------------------------------- defaults of a run
default = edict()
default.network = "r100"
default.dataset = "emore"
default.loss = "arcface"

# Machines and devices. device_num_per_node 0 means all visible GPUs, or one CPU rank.
default.device = "auto"
default.device_num_per_node = 0
default.num_nodes = 1
default.node_rank = 0
default.node_ips = ["127.0.0.1"]
default.master_port = 0
default.join_token = ""
default.model_parallel = True
default.partial_fc = False
default.sample_ratio = 1.0
default.fc7_dtype = "float32"
default.fc7_storage = "memory"
default.fc7_storage_dir = ""
default.rank_timeout = 1800
default.native_ops = True
default.use_bf16 = False
default.recompute = False
default.nccl_fusion_threshold_mb = 16
default.nccl_fusion_max_ops = 64

# Training data. train_batch_size is the batch of all ranks together; 0 means train_batch_size_per_device x ranks.
default.dataset_dir = ""
default.name = ""
default.num_classes = 0
default.total_img_num = 0
default.train_data_part_num = 0
default.use_synthetic_data = False
default.train_batch_size = 0
default.train_batch_size_per_device = 64
default.num_workers = 2
default.bad_images = "stop"
default.sampler = "instance"
default.seed = 1

# Length, learning rate and optimiser. train_iter, iter_num_in_snapshot and validation_interval count in train_unit.
default.train_unit = "batch"
default.train_iter = 170586
default.max_steps = 0
default.end_epoch = 0
default.lr = 0.1
default.lr_steps = [100000, 140000, 160000]
default.scales = [0.1, 0.01, 0.001]
default.lr_steps_batch = 0
default.lr_schedule = "step"
default.lr_power = 1.0
default.warmup_steps = 0
default.warmup_epochs = 0.0
default.optimizer = "sgd"
default.weight_decay = 0.0005
default.momentum = 0.9
default.adam_betas = [0.9, 0.999]
default.adam_eps = 1e-8
default.clip_gradient = 0.0
default.gradient_accumulation = 1
default.backbone_lr_mult = 1.0
default.layer_lr_decay = 1.0
default.freeze_backbone_steps = 0
default.freeze_bn = False
default.ema_decay = 0.0
default.teacher = ""
default.teacher_weight = 1.0
default.teacher_logits = 0.0
default.teacher_temperature = 1.0
default.teacher_cache = False
default.teacher_color_order = "rgb"
default.teacher_input_mean = 127.5
default.teacher_input_scale = 0.0
default.use_fp16 = False
default.fp16_scale = 1.0
default.fp16_scale_window = 0

# Snapshots and logs. ckpt: 0 no snapshots, 1 those with a better verification, 2 all, 3 only the best.
default.models_root = "./models"
default.extra_model_name = ""
default.ckpt = 2
default.model_load_dir = ""
default.pretrained = ""
default.color_order = "rgb"
default.partial_load = False
default.label_map = ""
default.resume = False
default.log_dir = "output/log"
default.loss_print_frequency = 20
default.head_stats = 0
default.iter_num_in_snapshot = 5000
default.save_last_snapshot = True

# Verification.
default.do_validation_while_train = True
default.val_dataset_dir = ""
default.val_data_part_num = 0
default.val_batch_size = 0
default.val_batch_size_per_device = 20
default.validation_interval = 5000
default.val_protocols = []
default.nrof_folds = 10
default.far_targets = [0.0001, 0.001, 0.01]


def generate_config(_network: str, _dataset: str, _loss: str) -> edict:
    """Return the settings of one run: defaults, then the loss's, network's and dataset's entries, later ones win.

    Raises:
        KeyError: a name is unknown.
    """
    merged = edict({**default, **config, **loss[_loss], **network[_network], **dataset[_dataset]})
    merged.update(network=_network, dataset=_dataset, loss=_loss)
    return merged
