"""A few rows of our own in each public data set's layout; loaded by path."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from PIL import Image

# By layout: files and their text; pictures are what ends in an image's suffix.
TEXTS: dict[str, dict[str, str]] = {
    "grocery-store": {
        "classes.csv": (
            "fine_id,name,coarse_id,coarse_name,iconic_image,description\n"
            '7,Green-Kiwi,2,Kiwi,i/kiwi.png,"Sweet, green."\n'
        ),
        "train.csv": "path,fine_id,coarse_id\nn/p1.png,7,2\nn/p2.png,7,2\n",
        "val.csv": "path,fine_id,coarse_id\nn/v1.png,7,2\n",
        **dict.fromkeys(("i/kiwi.png", "n/p1.png", "n/p2.png", "n/v1.png"), ""),
    },
    "product-matching": {
        "train.txt.small": "COL name VAL mug\tCOL name VAL cup\t1\n",
        "valid.txt.small": "COL name VAL mug\tCOL name VAL pot\t0\n",
    },
    "er-magellan": {
        "tableA.csv": "id,title,price\n1,blue mug,4.5\n2,pan,30\n",
        "tableB.csv": 'id,title,price\n1,"mug, blue",\n3,lid,2\n',
        "train.csv": "ltable_id,rtable_id,label\n1,1,1\n2,1,0\n",
        "valid.csv": "ltable_id,rtable_id,label\n2,3,0\n",
        "test.csv": "ltable_id,rtable_id,label\n1,3,0\n",
    },
    "shopee": {
        "train.csv": (
            "posting_id,image,image_phash,title,label_group\n"
            'train_1,a.png,94974f937d4c2433,"Kotak Pensil, biru",24\n'
            "train_2,b.png,af3f9460c2838f0f,Kotak pensil,24\n"
            # Postings share pictures.
            "train_3,b.png,af3f9460c2838f0f,Gelas,25\n"
        ),
        "train_images/a.png": "",
        "train_images/b.png": "",
    },
    "stanford-online-products": {
        "Ebay_train.txt": (
            "image_id class_id super_class_id path\n"
            "1 1 1 bicycle_final/10_0.png\n"
            "2 1 1 bicycle_final/10_1.png\n"
            "3 2 4 coffee_maker_final/20_0.png\n"
        ),
        "Ebay_test.txt": (
            "image_id class_id super_class_id path\n4 3 1 bicycle_final/30_0.png\n"
        ),
        **dict.fromkeys(
            (f"bicycle_final/{n}.png" for n in ("10_0", "10_1", "30_0")), ""
        ),
        "coffee_maker_final/20_0.png": "",
    },
    "in-shop": {
        "Eval/list_eval_partition.txt": (
            "4\n"
            "image_name item_id evaluation_status\n"
            "img/WOMEN/Skirts/id_1/01_1_front.png   id_1   train\n"
            "img/WOMEN/Skirts/id_2/01_1_front.png   id_2   query\n"
            "img/WOMEN/Skirts/id_2/01_2_side.png    id_2   gallery\n"
            "img/MEN/Suiting/id_3/01_1_front.png    id_3   gallery\n"
        ),
        "Img/img/WOMEN/Skirts/id_1/01_1_front.png": "",
        "Img/img/WOMEN/Skirts/id_2/01_1_front.png": "",
        "Img/img/WOMEN/Skirts/id_2/01_2_side.png": "",
        "Img/img/MEN/Suiting/id_3/01_1_front.png": "",
    },
    "retailrocket": {
        # Not in the order of time, as published.
        "events.csv": (
            "timestamp,visitorid,event,itemid,transactionid\n"
            "1433221332117,11,transaction,103,5\n"
            "1433221330117,11,view,101,\n"
            "1433221331117,11,view,102,\n"
            "1433221331117,12,addtocart,102,\n"
        ),
        "item_properties_part1.csv": (
            "timestamp,itemid,property,value\n"
            "1433041200000,101,categoryid,31\n"
            "1435460400000,101,available,1\n"
            "1433041200000,102,categoryid,32\n"
        ),
        "item_properties_part2.csv": (
            "timestamp,itemid,property,value\n"
            "1439694000000,101,categoryid,32\n"
            "1439694000000,104,categoryid,77\n"
            "1439694000000,104,790,n480.000 55\n"
        ),
        "category_tree.csv": "categoryid,parentid\n31,30\n32,31\n30,\n",
    },
    "yoochoose": {
        "yoochoose-clicks.dat": (
            "11,2014-04-07T10:51:09.277Z,101,0\n"
            "11,2014-04-07T10:54:09.868Z,102,S\n"
            "12,2014-04-07T10:54:46.998Z,102,0\n"
        ),
        # At the instant of the last click.
        "yoochoose-buys.dat": "11,2014-04-07T10:54:09.868Z,103,1046,1\n",
    },
    "otto": {
        "otto-train.jsonl": (
            '{"session":11,"events":[{"aid":101,"ts":1659304800025,"type":"clicks"},'
            '{"aid":102,"ts":1659304800026,"type":"clicks"},'
            '{"aid":103,"ts":1659304800027,"type":"orders"}]}\n'
        ),
    },
}


def offer(side: str, id: int, title: str, cluster: int, **more: object) -> dict:
    """Returns the half of a WDC line that tells of one offer."""
    values = {"id": id, "title": title, "cluster_id": cluster, **more}
    return {f"{name}_{side}": value for name, value in values.items()}


DRIVE = ("8 GB stick, blue", 70)
CARD = ("graphics card 4 GB", 71)
WDC_PAIRS = {
    "computers_train/computers_train_medium.json.gz": [
        {
            "pair_id": "1#2",
            "label": 1,
            **offer("left", 1, *DRIVE, brand="Acme", keyValuePairs={"size": "8 GB"}),
            **offer("right", 2, "stick 8GB", 70, brand=None, keyValuePairs=None),
        },
        {
            "pair_id": "1#3",
            "label": 0,
            **offer("left", 1, *DRIVE, brand="Acme", keyValuePairs={"size": "8 GB"}),
            **offer("right", 3, *CARD, brand="Zed"),
        },
    ],
    "computers_gs.json.gz": [
        {
            "pair_id": "4#3",
            "label": 0,
            **offer("left", 4, "graphics card 8 GB", 72),
            **offer("right", 3, *CARD, brand="Zed"),
        },
    ],
}
LAYOUTS = (*TEXTS, "wdc")


def make_set(layout: str, folder: Path) -> Path:
    """Writes the small set of a layout into `folder`, and returns it."""
    if layout == "wdc":
        for name, pairs in WDC_PAIRS.items():
            write_pairs_file(folder / name, pairs)
        (folder / "computers_valid").mkdir()
        listed = folder / "computers_valid" / "computers_valid_medium.csv"
        listed.write_text("pair_id\n1#3\n")
        return folder
    for name, text in TEXTS[layout].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.new("RGB", (8, 8), "teal").save(path)
        else:
            path.write_text(text)
    return folder


def write_pairs_file(path: Path, pairs: list[dict]) -> None:
    """Writes pairs as WDC does: JSON, one a line, in gzip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    path.write_bytes(gzip.compress(lines.encode()))
