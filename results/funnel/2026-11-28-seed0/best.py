def train(w, g, m, v1, lr):
    w = column_rms(w)
    m = interp(g, m, 0.238539)
    update = m / w
    lr = lr * 0.0110853
    v2 = interp(m, v1, 0.108658)
    update = orthogonalize(update)
    update = update * lr
    return update, v2, m
