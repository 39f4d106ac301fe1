"""Conversions of an ONNX file; a module has ``convert(source, target, **options)`` and runs in a worker."""
