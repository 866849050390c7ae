"""What a stage of backprop, a training run or a model looks like: in the terminal, and as figures."""
