# The rule of best.py tuned for python_transformer: learning rate, decay, averages and schedule,
# on its validation data (search of 8843 programs, 256 a task). On fresh seeds and its test data:
# -2.3 % loss [-2.4, -2.1] against tuned AdamW. Schedule: warm-up over 2.9 % of the steps, then
# the half cosine to the power 0.557, ending at 0.265 of the peak.
def train(w, g, m, v, count, v1, lr):
    g2 = square(m)
    m = interp(g, m, 0.459615)
    v = interp(g2, v, 0.897195)
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
    lr = lr * 0.0210591
    update = update * lr
    return update, m, v2, count, v2
