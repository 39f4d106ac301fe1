"""The flags of all commands that make images of photos."""

from __future__ import annotations

import argparse


def add_face_flags(parser: argparse.ArgumentParser) -> None:
    """Add --align, --resize and --detector."""
    parser.add_argument("--align", type=int, choices=(0, 1), default=0, help="1: detect the face and align it")
    parser.add_argument("--resize", type=int, choices=(0, 1), default=0, help="1: scale images of another size")
    parser.add_argument(
        "--detector", default="", help="ONNX file of SCRFD or RetinaFace for --align 1 (default: MTCNN)"
    )


def add_size_flags(parser: argparse.ArgumentParser) -> None:
    """Add --image_size and --min_size."""
    parser.add_argument("--image_size", type=int, default=112, help="height and width of the images (default: 112)")
    parser.add_argument(
        "--min_size",
        type=int,
        default=32,
        help="leave out faces (--align 1) or photos (--resize 1) whose shorter side has fewer pixels (default: 32)",
    )


def find_contradictions(args: argparse.Namespace) -> list[str]:
    """Return a message for each contradiction between the flags of ``add_face_flags``."""
    messages = []
    if args.align and args.resize:
        messages.append("--align 1 and --resize 1 contradict each other: aligned faces have the right size; omit one")
    if args.detector and not args.align:
        messages.append(f"--detector {args.detector} needs --align 1")
    return messages
