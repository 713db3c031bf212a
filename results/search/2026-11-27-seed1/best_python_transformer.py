# The rule of best.py tuned for python_transformer: learning rate, decay, averages and schedule,
# on its validation data (search of 9725 programs, 256 a task). On fresh seeds and its test data:
# -1.6 % loss [-1.8, -1.4] against tuned AdamW. Schedule: warm-up over 4.1 % of the steps, then
# the half cosine to the power 0.406, ending at 0.0243 of the peak.
def train(w, g, m, v, count, v1, lr):
    t4 = tan(w)
    w = where_matrix(w, t4)
    g2 = square(g)
    v2 = interp(lr, v1, 0.891029)
    m = interp(g, m, 0.430423)
    v = interp(g2, v, 0.166088)
    count = count + 1.83908
    t1 = 0.126278 ** count
    t2 = 1.0 - t1
    wd = log10(v1)
    scale_m = reciprocal(t2)
    scale_v = reciprocal(wd)
    t5 = v * scale_v
    sqrt_v = sqrt(t5)
    t6 = m * scale_m
    update = t6 / sqrt_v
    wd = w * 0.259337
    update = update + wd
    lr = v2 * 0.028009
    update = orthogonalize(update)
    update = update * lr
    scaled = update * 7.51899
    return scaled, m, v, count, lr
