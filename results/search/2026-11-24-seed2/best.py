# Nothing was found that beats tuned AdamW or constants only (+1.9 % loss [+1.0, +2.9] against
# tuned AdamW; -0.3 % loss [-1.2, +0.6] against constants only). Held out, letters_cnn: +5.9 %
# loss [+3.7, +8.2] against tuned AdamW.
def train(w, g, m, v, count, lr):
    g2 = square(g)
    m = interp(g, m, 0.496251)
    v = interp(g2, v, 0.723642)
    count = count + 1.0
    v = tanh(v)
    lr = norm(lr)
    t3 = 0.936909 ** count
    t4 = 1.0 - t3
    scale_v = reciprocal(t4)
    scale_m = sqrt(-0.346203)
    scale_m = log1p(scale_m)
    t5 = v * scale_v
    sqrt_v = sqrt(t5)
    t6 = m * scale_m
    update = t6 / sqrt_v
    wd = w * 0.0609009
    update = update + wd
    lr = lr * 0.0653122
    update = update * lr
    return update, m, v, count
