"""Verification sets from photographs: lists of pairs, drawn pairs, their images."""
