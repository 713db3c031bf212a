# The rule of best.py with the best of several learning rates for letters_cnn, chosen on its
# validation data. On fresh seeds and its test data: -0.3 % loss [-1.8, +1.3] against tuned AdamW.
def train(w, g, m, v, count, lr):
    g2 = square(g)
    m = interp(g, m, 0.405406)
    v = interp(g2, v, 0.774456)
    count = count + 0.37607
    t1 = 0.232231 ** count
    t2 = 0.995029 - t1
    scale_m = reciprocal(t2)
    g2 = exp(-0.0989238)
    scale_m = sin(scale_m)
    t5 = v * lr
    m = expm1(m)
    sqrt_v = sqrt(t5)
    count = cosine_sim(g2, count)
    t6 = m * scale_m
    update = t6 / sqrt_v
    wd = w * 0.255676
    update = update + wd
    lr = lr * 0.0213204
    update = update * lr
    update = update * 2.8284271247461903
    return update, m, v, count
