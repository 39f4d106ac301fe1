"""Commands and converters for users; they use every room, and no room uses them."""
