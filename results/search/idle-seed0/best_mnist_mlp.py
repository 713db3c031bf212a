# The rule of best.py tuned for mnist_mlp: learning rate, decay, averages and schedule, on its
# validation data (search of 8843 programs, 256 a task). On fresh seeds and its test data: -4.7 %
# loss [-6.1, -3.2] against tuned AdamW. Schedule: warm-up over 6.3 % of the steps, then the half
# cosine to the power 0.708, ending at 0.0241 of the peak.
def train(w, g, m, v, count, v1, lr):
    g2 = square(m)
    m = interp(g, m, 0.327735)
    v = interp(g2, v, 0.784551)
    count = count + 1.83908
    count = sin(count)
    t1 = 0.126278 ** count
    t2 = 1.0 - t1
    v = row_rms(v)
    v = row_rms(v)
    scale_m = reciprocal(t2)
    sqrt_v = sqrt(v)
    t6 = m * scale_m
    update = t6 / sqrt_v
    v2 = where_matrix(v, v1)
    wd = w * 0.259337
    update = update + wd
    update = orthogonalize(update)
    lr = lr * 0.0177603
    update = update * lr
    return update, m, v2, count, v2
