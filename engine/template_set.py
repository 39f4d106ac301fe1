"""Read the set of templates of IJB-B or IJB-C from the files in ``meta``."""

from __future__ import annotations

from common.errors import UserError, collecting
from data.ijb.meta import MetaFiles, read_images, read_pairs, read_people
from evaluation.templates.sets import TemplateImages, TemplatePairs, TemplatePeople, TemplateSet

BOTH, VERIFICATION, IDENTIFICATION = "both", "11", "1n"


def read_template_set(files: MetaFiles, protocol: str = BOTH) -> TemplateSet:
    """Read the files that a protocol needs: 1:1, 1:N or both.

    Raises:
        UserError: files are missing or damaged; the message has a line for each.
    """
    rows = read_images(files)
    images, problems = TemplateImages(*rows), []
    pairs, probes, galleries = None, None, {}
    if protocol != IDENTIFICATION:
        with collecting(problems):
            pairs = TemplatePairs(*read_pairs(files, rows))
    if protocol != VERIFICATION:
        for name, path in files.galleries.items():
            with collecting(problems):
                galleries[name] = TemplatePeople(*read_people(path, rows))
        with collecting(problems):
            probes = TemplatePeople(*read_people(files.probes, rows))
    if problems:
        raise UserError(*problems)
    return TemplateSet(files.target, images, pairs, galleries, probes)
