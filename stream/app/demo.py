"""The clip that comes with the package."""

from __future__ import annotations

from pathlib import Path

DEMO_CLIP = Path(__file__).parents[1] / "assets" / "bigbuckbunny.mp4"
"""1280x720, 25 frames a second"""
DEMO_FRAMES = 132
"""number of its frames"""
