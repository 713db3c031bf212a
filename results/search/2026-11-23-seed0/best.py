# The discovered rule beats constants only on fresh seeds and test data (-2.0 % loss [-3.6, -0.4] against constants only)
# It does not beat tuned AdamW (+0.6 % loss [-0.8, +2.0] against tuned AdamW)
# Held out, letters_cnn: +5.0 % loss [+3.0, +7.0] against tuned AdamW.
def train(w, g, m, v, lr):
    g2 = square(g)
    v2 = abs(-0.492116)
    m = interp(g, m, 0.591635)
    v = interp(g2, v, 0.817392)
    w = exp10(g)
    v = log1p(v)
    sqrt_v = minimum(0.436687, v2)
    sqrt_v = sin(-1.28929)
    update = log2(w)
    lr = sqrt(lr)
    sqrt_v = expm1(v2)
    lr = tanh(lr)
    sqrt_v = sqrt(v)
    update = m / sqrt_v
    wd = arcsin(m)
    wd = update * 0.000163676
    v1 = dot(sqrt_v, -0.502228)
    sqrt_v = maximum(wd, v1)
    update = update + wd
    lr = lr * 0.0269321
    sqrt_v = exp10(v)
    update = update * lr
    v2 = cosine_sim(-1.24119, -1.79505)
    return update, m, v
