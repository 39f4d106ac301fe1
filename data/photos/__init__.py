"""Photographs of people to images of faces: the folder, detection, choice of the face, alignment.

``prepare.align_photo`` aligns the face of one photo, ``walk.walk_people`` lists a folder of people, and
``build.write_photo_dataset`` makes a training set of one.
"""
