# Nothing was found that beats tuned AdamW or constants only (+3.4 % loss [+1.8, +5.1] against tuned AdamW; -0.1 % loss [-0.5, +0.2] against constants only)
# Held out, letters_cnn: +9.6 % loss [+7.1, +12.1] against tuned AdamW.
def train(w, g, m, v, lr):
    w = arcsinh(w)
    g2 = square(g)
    sqrt_v = tan(-0.320488)
    m = interp(g, m, 0.550312)
    v = interp(g2, v, 0.655903)
    sqrt_v = sqrt(v)
    update = m / sqrt_v
    wd = w * 0.000117231
    w = exp2(update)
    update = update + wd
    lr = lr * 0.0269321
    g = arccos(update)
    update = update * lr
    return update, m, v
