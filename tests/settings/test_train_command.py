from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sample_config
from common.errors import UserError
from settings.complete import complete_config
from settings.config_file import load_tables
from settings.legacy.command import rewrite_training
from settings.legacy.flags import OLD_FLAGS
from settings.option import parse_bool
from settings.options import TRAIN_TABLE
from settings.parser import read_flags, split_command
from settings.tables import sample_tables
from settings.train_command import resolve_train_config

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(sample_config.__file__)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose config.py is a copy of sample_config.py."""
    shutil.copy(SAMPLE, tmp_path / "config.py")
    return tmp_path


def add(folder: Path, text: str) -> None:
    with open(folder / "config.py", "a") as file:
        file.write(f"\n{text}\n")


def resolve(*argv: str, folder: Path) -> dict:
    return resolve_train_config([*argv], folder)


def test_later_places_win(folder: Path) -> None:
    """default < config < loss < network < dataset < command line, one key at each step."""
    places = ("default", "config", "loss.arcface", "network.r18", "dataset.orl")
    argv = ("--network", "r18", "--dataset", "orl", "--loss", "arcface")
    for number, place in enumerate(places):
        add(folder, f"{place}.weight_decay = {number + 1}e-5")
        assert resolve(*argv, folder=folder).weight_decay == pytest.approx((number + 1) * 1e-5)
    assert resolve(*argv, "--weight_decay", "0.25", folder=folder).weight_decay == 0.25
    # an entry that was not chosen says nothing
    assert resolve("--network", "r34", "--loss", "cosface", folder=folder).weight_decay == pytest.approx(2e-5)


def test_config_py_wins_when_present(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    add(folder, "default.lr = 0.0625\ndefault.network = 'y1'\nnetwork.mine = edict(net_name='fresnet', num_layers=34)")
    assert load_tables(folder).path == folder / "config.py"
    assert resolve(folder=folder).lr == 0.0625
    assert (resolve(folder=folder).network, resolve(folder=folder).net_name) == ("y1", "fmobilefacenet")
    assert resolve("--network", "mine", folder=folder).num_layers == 34
    without = tmp_path_factory.mktemp("without")
    assert load_tables(without).file is None
    assert resolve(folder=without).lr == sample_config.default.lr


def test_an_older_config_py_gets_the_keys_it_lacks(folder: Path) -> None:
    add(folder, "del default['rank_timeout'], default['network'], config['bn_mom']")
    config = resolve(folder=folder)
    assert (config.rank_timeout, config.network, config.bn_mom) == (1800, "r100", 0.9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("this is no python", "SyntaxError: .*compare it with sample_config.py"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("del loss", "lacks loss; copy sample_config.py"),
        ("default.learning_rate = 1", "default has the unknown key 'learning_rate'; known: .*lr_steps"),
        ("network.r18.depth = 1", "network.r18 has the unknown key 'depth'"),
        ("default.lr = '0.1'", "default: lr = '0.1' is not of type float; sample_config.py has 0.1"),
        ("default.lr_steps = 1000", "default: lr_steps = 1000 is not of type list"),
        ("dataset.orl.num_classes = 30.5", "dataset.orl: num_classes = 30.5 is not of type int"),
        ("default.train_unit = 'epochs'", "--train_unit epochs is unknown; known: batch, epoch"),
        ("default.device = 'gpu'", "--device gpu is unknown; known: auto, cuda, cpu"),
        ("loss.arcface.loss_name = 'arc'", "unknown loss_name 'arc'; known: adacos, adaface, arc_loss, .*softmax"),
        ("network.r100.net_name = 'resnet'", "unknown network 'resnet'; known: .*fmobilefacenet, fmobilenet, fresnet"),
        ("default.network = 'r97'", "unknown network 'r97'; known: .*r100"),
    ],
)
def test_a_wrong_config_py_is_one_clear_line(folder: Path, text: str, message: str) -> None:
    add(folder, text)
    with pytest.raises(UserError, match=message) as caught:
        resolve(folder=folder)
    assert "\n" not in str(caught.value)


def test_an_empty_config_py_says_how_it_came_about(folder: Path) -> None:
    (folder / "config.py").write_text("")
    with pytest.raises(UserError, match="config.py is empty; remove it, and print settings to another file"):
        resolve(folder=folder)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--network r97", "unknown network 'r97'; known: .*r100, .*r100_glint360k, .*y1"),
        ("--image_size 112,96", "--image_size '112,96' is not the side of a square such as 112 or 112,112"),
        ("--image_size big", "--image_size 'big' is not the side of a square such as 112 or 112,112"),
        ("--network r18 --net_se 2", "net_se=2 is not supported for fresnet; supported: 0, 1"),
        ("--network m1 --net_multiplier 0", "--net_multiplier 0.0 must be above 0"),
        ("--dataset faces", "unknown dataset 'faces'; known: emore, glint360k_8GPU, orl, retina"),
        ("--loss arc", "unknown loss 'arc'; known: adacos, adaface, arc_loss, arcface, .*combined, .*intra"),
        ("--learning_rate 1", "unknown flag --learning_rate 1; here: --lr; --help lists the flags"),
        ("--train_ite 1", r"unknown flag --train_ite 1; did you mean --train_iter\?; --help"),
        ("--network", "--network needs a value"),
        ("--lr fast", "--lr 'fast' is not a number"),
        ("--lr_steps 1,x", "is not a comma-separated list"),
        ("--resume maybe", "'maybe' is neither yes/true/1 nor no/false/0"),
        ("--train_unit day", "--train_unit day is unknown; known: batch, epoch"),
        ("--net_output Q --network r18", "net_output=Q is not supported for fresnet; supported: "),
        ("--lr_steps 1,2 --scales 0.1", "--lr_steps has 2 entries and --scales 1"),
        ("--lr_steps 5,5 --scales 0.1,0.01", r"--lr_steps \[5, 5\] must grow"),
        ("--lr -1", "--lr -1.0 must be at least 0"),
        ("--lr nan", "--lr nan must be at least 0"),
        ("--momentum 1", "--momentum 1.0 must be at least 0 and below 1"),
        ("--adam_betas 0.9", r"--adam_betas \[0.9\] must be two numbers in \[0, 1\)"),
        ("--adam_betas 0.9,1", r"must be two numbers in \[0, 1\)"),
        ("--adam_eps 0", "--adam_eps 0.0 must be above 0"),
        ("--lr_power 0", "--lr_power 0.0 must be above 0"),
        ("--clip_gradient -1", "--clip_gradient -1.0 must be at least 0"),
        ("--gradient_accumulation 0", "--gradient_accumulation 0 must be at least 1"),
        ("--fp16_scale 1000", r"--fp16_scale 1000 must be 0 \(none\) or a power of 2, such as 1024"),
        ("--fp16_scale -2", r"--fp16_scale -2 must be 0 \(none\) or a power of 2"),
        ("--fp16_scale inf", "--fp16_scale inf must be finite"),
        ("--fp16_scale_window -1", "--fp16_scale_window -1 must be at least 0"),
        ("--warmup_steps 5 --warmup_epochs 1", "--warmup_steps 5 and --warmup_epochs 1.0 are two lengths; give one"),
        ("--val_targets lfw,agedb_30,lfw", "--val_targets: lfw occurs more than once; name each set once"),
        ("--warmup_epochs nan", "--warmup_epochs nan must be at least 0"),
        ("--lr_schedule linear", "--lr_schedule linear is unknown; known: step, poly, cosine"),
        ("--optimizer adam", r"--optimizer adam is unknown; known: sgd, adamw?"),
        ("--label_map x", "--label_map x needs --model_load_dir or --pretrained"),
        ("--bn_mom 1", "--bn_mom 1.0 must be at least 0 and below 1"),
        ("--data_shift -1", "--data_shift -1.0 must be at least 0"),
        ("--data_zoom 1", "--data_zoom 1.0 must be at least 0 and below 1"),
        ("--data_rotation 181", "--data_rotation 181.0 must be at least 0 and at most 180"),
        ("--data_stretch -0.1", "--data_stretch -0.1 must be at least 0 and below 1"),
        ("--data_contrast 1", "--data_contrast 1.0 must be at least 0 and below 1"),
        ("--data_brightness nan", "--data_brightness nan must be at least 0 and below 1"),
        ("--data_color 3", r"--data_color 3 is unknown; known: 0 \(off\), 1 \(colours\), 2"),
        ("--data_cutoff 1", r"--data_cutoff 1 must be 0 \(off\) or 2 to 224 pixels"),
        ("--data_cutoff 225", "--data_cutoff 225 must be 0"),
        ("--data_images_filter -1", "--data_images_filter -1 must be at least 0"),
        ("--crop_augmentation_prob 1.1", "--crop_augmentation_prob 1.1 must be at least 0 and at most 1"),
        ("--low_res_augmentation_prob nan", "--low_res_augmentation_prob nan must be at least 0 and at most 1"),
        ("--photometric_augmentation_prob -1", "--photometric_augmentation_prob -1.0 must be at least 0 and at most 1"),
        ("--loss_s 0", "--loss_s 0.0 must be above 0"),
        ("--loss_h -1", "--loss_h -1.0 must be at least 0"),
        ("--loss_lambda_min nan", "--loss_lambda_min nan must be at least 0"),
        ("--loss_t_alpha 0", "--loss_t_alpha 0.0 must be above 0 and at most 1"),
        ("--loss sphereface --loss_m1 1.5", "--loss_m1 1.5: the margin of sphereface is a whole number"),
        ("--loss sphereface --loss_m1 inf", "--loss_m1 inf must be finite"),
        ("--loss adaface --easy_margin 1", "--easy_margin 1 is for .*; --loss adaface has no such margin"),
        ("--loss_b -1", "--loss_b -1.0 must be at least 0"),
        ("--loss uniface --label_smoothing 0.1", "--label_smoothing 0.1 is for losses that are a softmax"),
        ("--loss_l_a 110", "MagFace's lower bounds are above the upper ones"),
        ("--loss_m_min 0.6", "--loss_m_min 0.6 is above --loss_m_max 0.5"),
        ("--loss elastic_arcface --loss_m3 0.3", "--loss_m2 0.5 --loss_m3 0.3: ElasticFace varies one margin; set the"),
        ("--teacher_cache 1", "--teacher_cache True needs --teacher: the trained network to learn from"),
        ("--teacher_weight -1", "--teacher_weight -1.0 must be at least 0"),
        (
            "--teacher_input_mean 0 --teacher_color_order bgr",
            "--teacher_color_order bgr and --teacher_input_mean 0.0 needs --teacher",
        ),
        (
            "--network y1 --stochastic_depth 0.2",
            "--stochastic_depth 0.2 skips the residual units of r18 .* --network y1",
        ),
        ("--network r18 --stochastic_depth 1", "--stochastic_depth 1.0 must be at least 0 and below 1"),
        ("--ema_decay 1", "--ema_decay 1.0 must be at least 0 and below 1"),
        ("--loss inter --num_subcenters 2", "--num_subcenters 2: the inter-loss is between classes with one centre"),
        ("--images_per_identity 1", "--images_per_identity 1 must be at least 2"),
        ("--loss triplet --sampler class", "--sampler class orders single images, and --loss triplet chooses triplets"),
        ("--sampler rare", "--sampler rare is unknown; known: instance, class, square_root, pk"),
        ("--triplet_bag_size 0", "--triplet_bag_size 0 must be at least 1"),
        ("--triplet_alpha 0", "--triplet_alpha 0.0 must be above 0 and at most 1"),
        ("--triplet_alpha nan", "--triplet_alpha nan must be above 0 and at most 1"),
        ("--triplet_max_ap -1", "--triplet_max_ap -1.0 must be at least 0"),
        ("--loss triplet --easy_margin 1", "--easy_margin 1 is for arcface, .*; --loss triplet has no such margin"),
        ("--loss triplet --partial_fc 1", "--partial_fc True is about class centres, and --loss triplet has none"),
        ("--loss atriplet --head_stats 5", "--head_stats 5 is about class centres, and --loss atriplet has none"),
        ("--loss triplet --label_map x --pretrained y", "--label_map x is about class centres"),
        ("--loss triplet --freeze_backbone_steps 9 --pretrained y", "--freeze_backbone_steps 9 is about class centres"),
        ("--backbone_lr_mult 0", "--backbone_lr_mult 0 would leave the weights and still move .*; use --freeze_back"),
        ("--freeze_bn 1 --sync_bn 1", "--freeze_bn 1 .* and --sync_bn 1 .*; give one"),
        ("--partial_load 1", "--partial_load 1 needs --pretrained"),
        ("--loss triplet --num_subcenters 3", "--num_subcenters 3 is about class centres"),
        ("--loss triplet --interclass_filtering_threshold 0.4", "0.4 is about class centres, and --loss triplet"),
        ("--interclass_filtering_threshold 1", "--interclass_filtering_threshold 1.0 must be at least 0 and below 1"),
        ("--loss softmax --interclass_filtering_threshold 0.4", "is a cosine; --loss softmax has none"),
        ("--num_subcenters 0", "--num_subcenters 0 must be at least 1"),
        ("--loss softmax --num_subcenters 2", "--num_subcenters 2 needs a loss on cosines"),
        ("--partial_fc 1 --model_parallel 0", "--partial_fc 1 needs --model_parallel 1"),
        ("--fc7_dtype fp16", "--fc7_dtype fp16 is unknown; known: float32, bf16"),
        ("--fc7_dtype bf16 --native_ops 0", "--fc7_dtype bf16 needs the CPU kernels that --native_ops 0 switches off"),
        ("--fc7_dtype bf16 --loss inter", "--fc7_dtype bf16 reads class rows piece .* --loss inter compares all"),
        ("--fc7_dtype bf16 --loss triplet", "--fc7_dtype bf16 is about class centres, and --loss triplet has none"),
        ("--sample_ratio 0", "--sample_ratio 0.0 must be above 0 and at most 1"),
        ("--sample_ratio 1.01", "--sample_ratio 1.01 must be above 0 and at most 1"),
        ("--sample_ratio nan", "--sample_ratio nan must be above 0 and at most 1"),
        ("--train_iter 0", "--train_iter 0 must be at least 1, or 0 where --max_steps or --end_epoch is the end"),
        ("--train_iter -1 --end_epoch 1", "--train_iter -1 must be at least 0"),
        ("--max_steps -1", "--max_steps -1 must be at least 0"),
        ("--end_epoch -1", "--end_epoch -1 must be at least 0"),
        ("--lr_steps_batch -1", "--lr_steps_batch -1 must be at least 0"),
        ("--loss_lambda_freeze -1", "--loss_lambda_freeze -1 must be at least 0"),
        ("--nccl_fusion_max_ops -1", "--nccl_fusion_max_ops -1 must be at least 0"),
        ("--extra_model_name a/b", "--extra_model_name a/b is added to a folder's name and must not contain /"),
        ("--ckpt 4", "--ckpt 4 is unknown; known: 0 "),
        ("--color_order bgr", "--color_order bgr is about the file of --pretrained; snapshots and images are RGB"),
        ("--color_order grb", "--color_order grb is unknown; known: rgb, bgr"),
        ("--ckpt 3 --iter_num_in_snapshot 9", "--ckpt 3 and --iter_num_in_snapshot 9 contradict each other"),
        ("--ckpt 0 --save_last_snapshot 1", "--ckpt 0 and --save_last_snapshot 1 contradict each other"),
        ("--wd 0.1 --weight-decay 0.2", "--wd 0.1 and --weight-decay 0.2 contradict each other; give one"),
        ("--num_classes 0", "--num_classes 0 must be at least 1"),
        ("--loss_print_frequency 0", "--loss_print_frequency 0 must be at least 1"),
        ("--validation_interval 0", "--validation_interval 0 must be at least 1"),
        ("--num_workers -1", "--num_workers -1 must be at least 0"),
        ("--seed -1", "--seed -1 must be at least 0"),
        ("--seed 9223372036854775808", "must be at least 0 and at most 9223372036854775807"),
        ("--lr inf", "--lr inf must be finite"),
        (f"--train_iter {2**63}", f"--train_iter {2**63} must be at most {2**63 - 1}"),
        ("--loss_m2 nan", "--loss_m2 nan must be finite"),
        ("--lr_steps 9 --scales nan", r"--scales \[nan\] must be finite"),
        ("--nrof_folds 1", "--nrof_folds 1 must be at least 2"),
        ("--far_targets 0.1,1", r"--far_targets \[0.1, 1.0\] must be false accept rates above 0 and below 1"),
        ("--rank_timeout 0", "--rank_timeout 0 must be at least 1"),
        ("--device_num_per_node -1", "--device_num_per_node -1 must be at least 0"),
        ("--num_nodes 2 --master_port 1", "--num_nodes 2 needs as many --node_ips, 1 given"),
        ("--num_nodes 2 --node_ips a,b", "--master_port is needed with several nodes"),
        ("--node_rank 1", r"--node_rank 1 is outside 0..0"),
        ("--pretrained a --resume 1", "--pretrained and --resume contradict each other"),
        ("--pretrained a --model_load_dir b", "--model_load_dir and --pretrained contradict each other"),
        ("--use_synthetic_data 1 --total_img_num 0", "--total_img_num 0 must be at least 1 with --use_synthetic_data"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(tmp_path: Path, argv: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(*argv.split(), folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_resume_and_model_load_dir_go_together(tmp_path: Path) -> None:
    config = resolve("--resume", "--model_load_dir", "x", folder=tmp_path)
    assert config.resume is True and config.model_load_dir == "x"


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_batch_sizes(tmp_path: Path, ranks: int) -> None:
    config = resolve("--train_batch_size_per_device", "6", folder=tmp_path)
    assert complete_config(config, ranks, "cpu").train_batch_size == 6 * ranks
    assert config.train_batch_size == 0  # the resolved settings are not changed
    config = resolve("--train_batch_size", "10", folder=tmp_path)
    if ranks == 3:
        with pytest.raises(UserError, match="--train_batch_size 10 is not a multiple of the 3 ranks"):
            complete_config(config, ranks, "cpu")
    else:
        assert complete_config(config, ranks, "cpu").train_batch_size == 10


def test_rows_in_bfloat16_are_for_the_cpu(tmp_path: Path) -> None:
    config = resolve("--fc7_dtype", "bf16", folder=tmp_path)
    assert complete_config(config, 1, "cpu").fc7_dtype == "bf16"
    with pytest.raises(UserError, match="--fc7_dtype bf16 is for the CPU and this run is on cuda; omit it or add"):
        complete_config(config, 1, "cuda")


def test_pieces_of_a_batch_are_equal(tmp_path: Path) -> None:
    config = resolve("--train_batch_size", "12", "--gradient_accumulation", "3", folder=tmp_path)
    assert complete_config(config, 2, "cpu").gradient_accumulation == 3
    message = r"--gradient_accumulation 3 must divide the 4 images a step of each rank \(--train_batch_size 12 over 3"
    with pytest.raises(UserError, match=message):
        complete_config(config, 3, "cpu")


SAMPLES = {
    "parse_bool": "0",
    "parse_image_size": "96,96",
    "parse_factor": "0.5",
    "parse_list": "3",
    "int": "7",
    "float": "0.5",
    "str": "some",
}


@pytest.mark.parametrize("option", TRAIN_TABLE, ids=lambda option: option.key)
def test_every_spelling_of_a_flag_sets_its_key(tmp_path: Path, option: object) -> None:
    value = [*option.choices][-1] if option.choices else SAMPLES[option.parse.__name__]
    expected = {option.key: option.parse(str(value))}
    for flag in option.flags:
        for spelling in (flag, "--" + flag[2:].replace("_", "-")):
            for argv in ([spelling, str(value)], [f"{spelling}={value}"]):
                assert read_flags(split_command(argv), TRAIN_TABLE) == expected, argv


OLD_SPELLINGS = {
    "--gpu_num_per_node": "device_num_per_node",
    "--do_validataion_while_train": "do_validation_while_train",
    "--validataion_interval": "validation_interval",
    "-wd": "weight_decay",
    "--wd": "weight_decay",
    "-mom": "momentum",
    "--mom": "momentum",
    "--frequent": "loss_print_frequency",
    "--per-batch-size": "train_batch_size_per_device",
    "--margin-s": "loss_s",
    "--gradient_acc": "gradient_accumulation",
    "--warmup_epoch": "warmup_epochs",
    "--warmup-step": "warmup_steps",
    "--fp16-scale": "fp16_scale",
    "--models-root": "models_root",
    "--lr-steps": "lr_steps",
}


@pytest.mark.parametrize(("flag", "key"), OLD_SPELLINGS.items())
def test_spellings_of_the_ported_systems(flag: str, key: str) -> None:
    value = {"momentum": "0.5", "do_validation_while_train": "0"}.get(key, "3")
    rewritten = rewrite_training(split_command([flag, value]), sample_tables(), TRAIN_TABLE)
    assert key in read_flags(rewritten.words, TRAIN_TABLE)


def test_no_spelling_has_two_meanings() -> None:
    flags = [flag for option in TRAIN_TABLE for flag in option.flags]
    flags += {row.flag for row in OLD_FLAGS} - set(flags)
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("word", ["yes", "True", "T", "y", "1"])
def test_true_words(word: str) -> None:
    assert parse_bool(word) is True


@pytest.mark.parametrize("word", ["no", "False", "F", "n", "0"])
def test_false_words(word: str) -> None:
    assert parse_bool(word) is False


def test_every_set_of_val_targets_has_a_flag(tmp_path: Path) -> None:
    config = resolve("--val_targets", "lfw,my_set", "--my_set_dataset_dir", "a", "--lfw-dataset-dir=b", folder=tmp_path)
    assert (config.my_set_dataset_dir, config.lfw_dataset_dir) == ("a", "b")
    assert config.val_targets == ["lfw", "my_set"]
    with pytest.raises(UserError, match="unknown flag --calfw_dataset_dir"):
        resolve("--calfw_dataset_dir", "x", folder=tmp_path)


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        ("--network nope", "error: unknown network 'nope'; known: "),
        ("--bogus 1", "error: unknown flag --bogus 1"),
        ("--dataset orl --dataset_dir /nowhere/at/all --do_validation_while_train 0", "error: "),
        ("--use_synthetic_data 1 --total_img_num 8 --train_batch_size 3 --gpu_num_per_node 2 --device cpu", "error: "),
    ],
)
def test_the_command_ends_with_one_line_and_code_1(argv: str, start: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "insightface_train.py"), *argv.split()],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(start) and len(done.stderr.splitlines()) == 1


def test_help_lists_every_flag_with_its_default() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "insightface_train.py"), "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    for option in TRAIN_TABLE:
        assert f"--{option.key}" in words
    assert "(default: 0.1)" in words and "--lfw_dataset_dir" in words


def test_the_launching_process_stays_free_of_oneflow() -> None:
    code = "import sys, insightface_train; sys.exit('oneflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
