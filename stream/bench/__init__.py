"""`saliency-tubes bench`: how fast each stage is on this machine, and how many live streams it holds.

It runs the parts that a run uses, and the whole pipeline in a process of its own. It sits above `stream.app`, whose
command line imports it when it is asked to. `tests/bench/` is another thing: it compares, with targets.
"""
