"""Margins: the changes that each loss makes to the cosines before the softmax, one file per loss."""
