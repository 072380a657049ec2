"""A loop on rendered scenes, and its report as a reader sees it."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
from PIL import Image

from al_rotate.data import RotatedInstances, synthetic
from al_rotate.evaluation.tolerance import Tolerance
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from helpers.noisy import NoisyLearner

CLASSES = synthetic.CLASSES


class Page(HTMLParser):
    """What a reader of the page is shown: its text, tables (rows of cells), images, and the gallery's data."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.text, self.tables, self.images, self.addresses, self.tags = "", [], [], [], set()
        self.inside, self.scripts, self.alternatives = None, [], []
        self.feed(self.source)
        for address in self.addresses:
            kind, data = re.fullmatch(r"data:image/(\w+);base64,(.+)", address).groups()
            image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            image.load()
            assert image.format.lower() == kind
            self.images.append(image)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        if tag == "img":
            self.alternatives.append(dict(attributes).get("alt"))
        if tag == "script":
            self.scripts.append("")
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None if tag == self.inside else self.inside

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
            return
        self.text += data
        if self.tables and self.tables[-1] and self.tables[-1][-1] and self.inside in ("td", "th"):
            self.tables[-1][-1][-1] += data.strip()

    @property
    def gallery(self):
        """The cards of the gallery in the page, by image id."""
        return {card["id"]: card for card in json.loads(self.scripts[0])["images"]}

    def frame(self, number):
        head, *rows = self.tables[number]
        return pd.DataFrame(rows, columns=head)


STRICT = Tolerance(share=0, pixels=0.1)  # the learner's boxes are off by less than a pixel


def make(folder, scenes, **changes):
    root, pool, test = scenes
    arguments = {
        "images": root / "pool" / "images",
        "classes": CLASSES,
        "budget": 4,
        "annotator": SimulatedAnnotator(pool, tolerance=STRICT),
        "test": (root / "test" / "images", test),
        "learner": NoisyLearner(RotatedInstances.concat([pool, test])),
    }
    return ActiveLoop(folder, **{**arguments, **changes})
