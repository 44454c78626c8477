"""Robots of fewer triangles, so that pictures are cheap: links drawn as the shapes they collide with.

The Panda has 103,000 triangles to look at and 3,500 to collide with, and drawing them is what a picture costs.
"""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from armature.envs.engine import pybullet_data


@contextmanager
def drawn_as_it_collides(path: str) -> Iterator[str]:
    """Give the path of a copy of a URDF or SDF whose links look like what they collide with, in their own colours.

    Links without a collision shape, or without a visual one, stay as they are. The copy lasts as long as the context.
    """
    file = Path(path) if Path(path).is_file() else Path(pybullet_data.getDataPath()) / path
    tree = ElementTree.parse(file)
    for link in tree.iter("link"):
        _simplify(link)
    for mesh in tree.iter("mesh"):
        _locate(mesh, file.resolve().parent)
    with tempfile.TemporaryDirectory() as folder:
        simple = Path(folder) / file.name
        tree.write(simple)
        yield str(simple)


def _simplify(link: ElementTree.Element) -> None:
    visuals, collisions = link.findall("visual"), link.findall("collision")
    if not visuals or not collisions:
        return
    material = visuals[0].find("material")
    for visual in visuals:
        link.remove(visual)
    for number, collision in enumerate(collisions):
        # Bullet knows the materials of an SDF by the names of visuals, whatever their links.
        visual = ElementTree.SubElement(link, "visual", name=f"{link.get('name')}_visual{number}")
        places = [collision.find(tag) for tag in ("origin", "pose", "geometry")]  # URDF has origins, SDF poses
        visual.extend(copy.deepcopy(item) for item in (*places, material) if item is not None)


def _locate(mesh: ElementTree.Element, folder: Path) -> None:
    """Write the full path of a mesh's file, looked for from the folder upwards, as PyBullet does."""
    uri = mesh.find("uri")  # SDF
    name = re.sub(r"^\w+://", "", mesh.get("filename", "") if uri is None else uri.text or "").strip().lstrip("/")
    for place in (folder, *folder.parents):
        if (place / name).is_file():
            if uri is None:
                mesh.set("filename", str(place / name))
            else:
                uri.text = str(place / name)
            return
