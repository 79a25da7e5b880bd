"""What GStreamer's plugin nvcodec says of its elements: a program for a process that has the GPU that is not there.

python nvinspect.py ELEMENT ... prints JSON: the version of GStreamer, and of each element its properties, each with
type, range or values, and the caps of its pads. tests/unit/nvcodec.json was written by it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from saliency_tubes.stream.media.gst_load import load

DECODERS = ["nvh264dec", "nvh264sldec", "nvh265dec", "nvh265sldec"]
ELEMENTS = ["nvh264enc", "nvh265enc", *DECODERS, "cudaupload", "cudadownload"]


def main() -> None:
    gst = load("GstApp", "GstVideo", "GstCuda")
    found = {name: element_of(gst, name) for name in sys.argv[1:] or ELEMENTS}
    print(json.dumps({"version": ".".join(map(str, gst.Gst.version()[:2])), "elements": found}, indent=1))


def element_of(gst: Any, name: str) -> dict[str, Any]:
    element = gst.Gst.ElementFactory.make(name)
    properties = {prop.name: property_of(prop) for prop in element.list_properties()}
    pads = {template.name_template: template.get_caps().to_string() for template in element.get_pad_template_list()}
    return {"properties": properties, "pads": pads}


def property_of(prop: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"type": prop.value_type.fundamental.name}
    if hasattr(prop, "enum_class"):
        told["values"] = [value.value_nick for value in prop.enum_class.__enum_values__.values()]
    elif hasattr(prop, "minimum"):
        told["range"] = [prop.minimum, prop.maximum]
    return told


main()
