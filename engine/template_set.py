"""Read the set of templates of IJB-B or IJB-C from the files in ``meta``."""

from __future__ import annotations

from data.ijb.meta import MetaFiles, read_images, read_pairs, read_people
from evaluation.templates.sets import TemplateImages, TemplatePairs, TemplatePeople, TemplateSet

BOTH, VERIFICATION, IDENTIFICATION = "both", "11", "1n"


def read_template_set(files: MetaFiles, protocol: str = BOTH) -> TemplateSet:
    """Read the files that a protocol needs: 1:1, 1:N or both.

    Raises:
        UserError: one is missing or damaged.
    """
    rows = read_images(files)
    images = TemplateImages(*rows)
    pairs = None if protocol == IDENTIFICATION else TemplatePairs(*read_pairs(files, rows))
    if protocol == VERIFICATION:
        return TemplateSet(files.target, images, pairs)
    galleries = {name: TemplatePeople(*read_people(path, rows)) for name, path in files.galleries.items()}
    return TemplateSet(files.target, images, pairs, galleries, TemplatePeople(*read_people(files.probes, rows)))
