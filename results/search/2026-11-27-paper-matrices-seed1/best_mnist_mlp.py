# The rule of best.py tuned for mnist_mlp: learning rate, decay, averages and schedule, on its
# validation data (search of 9023 programs, 256 a task). On fresh seeds and its test data: -4.7 %
# loss [-6.1, -3.4] against tuned AdamW. Schedule: warm-up over 33 % of the steps, then the half
# cosine to the power 0.489, ending at 0.15 of the peak.
def train(w, g, m, v, count, v1, lr):
    g = orthogonalize(g)
    g2 = square(1.40274)
    m = interp(g, m, 0.445644)
    w = where_matrix(w, g2)
    v = interp(g2, v, 0.708042)
    v2 = interp(w, v1, 0.937509)
    w = expm1(v2)
    count = count + 1.83908
    t1 = 0.262912 ** count
    t2 = 1.0 - t1
    scale_m = reciprocal(t2)
    t3 = 0.476563 ** 1.38005
    t4 = 1.0 - t3
    scale_v = reciprocal(t4)
    t5 = v * scale_v
    sqrt_v = sqrt(t5)
    t6 = m * scale_m
    update = t6 / sqrt_v
    wd = w * 0.259337
    update = update + wd
    lr = lr * 0.0291126
    v = where_matrix(v, g2)
    update = update * lr
    return update, m, v, count, v2
