"""ONNX files: read into a network description, and written from one."""
