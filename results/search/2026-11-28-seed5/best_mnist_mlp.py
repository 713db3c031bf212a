# The rule of best.py tuned for mnist_mlp: learning rate, decay, averages and schedule, on its
# validation data (search of 4674 programs, 256 a task). On fresh seeds and its test data: -13.3 %
# loss [-14.4, -12.1] against tuned AdamW. Schedule: warm-up over 2.1 % of the steps, then the
# half cosine to the power 0.923, ending at 0.0293 of the peak.
def train(w, g, m, v1, lr):
    v2 = interp(w, v1, 0.944399)
    m = interp(g, m, 0.504493)
    update = orthogonalize(m)
    update = update + v1
    lr = lr * 0.0135763
    update = update * lr
    return update, m, v2
