"""Commands and converters for users; they may import every package, and no package imports them."""
