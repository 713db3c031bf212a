# The discovered rule beats tuned AdamW and constants only on fresh seeds and test data (-1.1 %
# loss [-1.7, -0.5] against tuned AdamW; -2.3 % loss [-2.9, -1.6] against constants only). Held
# out, letters_cnn: -0.1 % loss [-1.4, +1.3] against tuned AdamW.
def train(w, g, m, v, count, lr):
    g2 = square(g)
    m = interp(g, m, 0.405406)
    lr = lr + lr
    v = interp(g2, v, 0.774456)
    count = count + 0.37607
    t1 = 0.675681 ** count
    lr = cbrt(lr)
    t2 = 0.985352 - t1
    scale_m = reciprocal(t2)
    t3 = 0.774456 ** count
    t4 = 0.922774 - t3
    lr = expm1(lr)
    scale_v = reciprocal(t4)
    t5 = v * scale_v
    sqrt_v = sqrt(t5)
    t6 = m * scale_m
    update = t6 / sqrt_v
    wd = w * 0.255676
    update = update + wd
    lr = lr * 0.00975039
    update = update * lr
    return update, m, v, count
