"""Run a described network on OneFlow, operator by operator or as one compiled op."""
