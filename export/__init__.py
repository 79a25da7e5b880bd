"""From a PyTorch 3D CNN to ONNX with its evidence as an extra output. The only room that imports torch."""

if __name__ != "saliency_tubes.export":
    raise ImportError(f"import saliency_tubes.export, not {__name__}: a second copy of its types would match nothing")
