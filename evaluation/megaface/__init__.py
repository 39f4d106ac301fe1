"""MegaFace: identification and verification of people among up to a million distractors."""
