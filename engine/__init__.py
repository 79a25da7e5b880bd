"""The explainer: what a model file says of itself, runners, tubes and their overlay. No I/O but model files."""

if __name__ != "saliency_tubes.engine":
    raise ImportError(f"import saliency_tubes.engine, not {__name__}: a second copy of its types would match nothing")
