"""Where training images come from: numbered images of any format, read by an index."""
