"""The web server: streams in a browser, as video with the evidence beside it, as pictures, and as data.

May import engine, `engine.draw`, `net`, `media`, `telemetry`, and what an output may ask of its stream. Starlette and
uvicorn are imported only here, when a web output is opened.
"""
