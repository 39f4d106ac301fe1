"""What to run: sample_config.py or config.py, the names of loss, network and dataset, then the command line."""
