def train(w, g, m, v, count, v2, lr):
    g2 = square(g)
    m = interp(g, m, 0.858666)
    v = interp(g2, v, 0.94171)
    count = count + 1.0
    lr = tanh(lr)
    t3 = 0.94171 ** count
    t4 = 1.0 - t3
    scale_v = reciprocal(t4)
    t5 = v * scale_v
    sqrt_v = sqrt(t5)
    t6 = m * 0.629088
    update = t6 / sqrt_v
    v3 = interp(m, v2, 0.381215)
    v = rms(v)
    lr = lr * 0.0201867
    update = orthogonalize(update)
    update = update * lr
    return update, v3, v, count, v3
