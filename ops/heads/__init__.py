"""From embeddings to the loss: class rows, how they are split over the ranks, and which of them a step samples.

The words of this package:

class
    An identity. Images carry its number, 0 to num_classes - 1; the loss compares each image with all classes.
centre
    A vector of the embedding's length that represents a class. Sub-center ArcFace has several per class.
row
    A row of the fc7 weight: a centre. Class c with K centres has the rows c * K to c * K + K - 1. Padding rows fill up
    the last shards and never act as negatives. Numbers of rows such as ``ClassShards.rows`` count classes: the weight
    has K times as many.
slot
    A place for a sampled class in a step of Partial FC. Each rank has the same number of them in every step, since
    compiled graphs have static shapes; unused slots are masked like padding rows.
shard
    The rows of consecutive classes that one rank holds. Replicated heads have one shard, which every rank holds.
rank
    A process of the run, numbered from 0, with one device. The batch is split over the ranks.
machine
    A computer with one or more ranks. Heads do not tell ranks of one machine from those of another.
"""
