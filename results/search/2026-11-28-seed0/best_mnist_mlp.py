# The rule of best.py tuned for mnist_mlp: learning rate, decay, averages and schedule, on its
# validation data (search of 4620 programs, 256 a task). On fresh seeds and its test data: -5.9 %
# loss [-7.1, -4.7] against tuned AdamW. Schedule: warm-up over 4.8 % of the steps, then the half
# cosine to the power 0.327, ending at 0.0316 of the peak.
def train(w, g, m, lr):
    m = interp(g, m, 0.61729)
    sqrt_v = sqrt(w)
    sqrt_v = where(g, m, sqrt_v)
    sqrt_v = column_mean(sqrt_v)
    update = m / sqrt_v
    lr = lr * 0.00432562
    update = orthogonalize(update)
    update = update * lr
    return update, m
