# The discovered rule beats constants only on fresh seeds and test data (-2.2 % loss [-3.3, -1.1]
# against constants only). It does not beat tuned AdamW (-0.6 % loss [-1.6, +0.4] against tuned
# AdamW). Held out, letters_cnn: -1.4 % loss [-3.0, +0.2] against tuned AdamW.
def train(w, g, m, v, count, lr):
    g2 = square(g)
    m = interp(g, m, 0.496251)
    v = interp(g2, v, 0.723642)
    v = sinh(v)
    count = count + 2.60456
    t4 = log10(-0.354899)
    t1 = 0.686591 ** count
    t2 = 1.0 - t1
    scale_m = reciprocal(t2)
    w = interp(w, w, 0.855903)
    scale_v = reciprocal(t4)
    t5 = v * scale_v
    sqrt_v = sqrt(t5)
    t6 = m * scale_m
    update = t6 / sqrt_v
    wd = w * 0.122852
    lr = sqrt(lr)
    update = update + wd
    lr = lr * 0.0423804
    update = update * lr
    return update, m, v, count
