"""Robots of fewer triangles, so that pictures are cheap: links drawn as the shapes they collide with.

The Panda has 103,000 triangles to look at and 3,500 to collide with, and drawing them is what a picture costs.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement


def draw_as_it_collides(robot: Element, everything: bool) -> None:
    """Let the links of a URDF or SDF look like what they collide with, in their own colours.

    Either `everything` that collides, or, as Bullet does link by link, only where a link has nothing to look at.
    """
    for link in robot.iter("link"):
        if link.find("collision") is not None and (everything or link.find("visual") is None):
            _simplify(link)


def _simplify(link: Element) -> None:
    visuals, collisions = link.findall("visual"), link.findall("collision")
    material = visuals[0].find("material") if visuals else None
    for visual in visuals:
        link.remove(visual)
    for number, collision in enumerate(collisions):
        # Bullet knows the materials of an SDF by the names of visuals, whatever their links.
        visual = SubElement(link, "visual", name=f"{link.get('name')}_visual{number}")
        places = [collision.find(tag) for tag in ("origin", "pose", "geometry")]  # URDF has origins, SDF poses
        visual.extend(copy.deepcopy(item) for item in (*places, material) if item is not None)


def locate_files(robot: Element, folder: Path) -> None:
    """Write the full paths of meshes and textures, looked for from the folder upwards, as PyBullet does."""
    for item in robot.iter():
        if item.tag == "uri":  # SDF
            item.text = _located(item.text or "", folder)
        elif "filename" in item.keys():  # noqa: SIM118, an element is no dict
            item.set("filename", _located(item.get("filename", ""), folder))


def _located(name: str, folder: Path) -> str:
    inner = re.sub(r"^\w+://", "", name).strip().lstrip("/")
    places = [place / inner for place in (folder, *folder.parents)]
    return next((str(place) for place in places if place.is_file()), name)
