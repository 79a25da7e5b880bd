"""`saliency-tubes doctor`: what is installed, which way each stage takes here, and what would make it faster.

`here.py` reads this machine into a `System`, which is plain data; everything else is pure functions of one. It sits
above `stream.app`, whose command line imports it when it is asked to.
"""
