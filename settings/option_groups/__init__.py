"""The settings of a run by kind; ``settings.options`` joins them to one table."""
