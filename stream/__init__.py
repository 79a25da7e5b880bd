"""Everything live: sources, the sliding window, synchronisation, sinks, the pipeline and the command line."""

if __name__ != "saliency_tubes.stream":
    raise ImportError(f"import saliency_tubes.stream, not {__name__}: a second copy of its types would match nothing")
