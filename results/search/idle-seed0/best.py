# The discovered rule, tuned for each task, beats tuned AdamW and constants only on fresh seeds
# and test data (-9.1 % loss [-9.8, -8.5] against tuned AdamW; -7.6 % loss [-8.3, -7.0] against
# constants only). It does not beat tuned Muon (+1.0 % loss [+0.3, +1.7] against tuned Muon). As
# in best.py, with one setting for all tasks: -11.5 % loss [-12.2, -10.8] against tuned AdamW, one
# setting; -1.7 % loss [-2.3, -1.1] against tuned Muon, one setting. Held out, names_cnn: -4.7 %
# loss [-6.3, -3.1] against tuned AdamW. Here it has one setting for all tasks; tuned for each:
# best_mnist_mlp.py, best_mnist_vit.py, best_python_transformer.py, best_names_cnn.py. Schedule:
# warm-up over 2.3 % of the steps, then the half cosine to the power 0.626, ending at 0.0124 of
# the peak.
def train(w, g, m, v, count, v1, lr):
    g2 = square(m)
    m = interp(g, m, 0.439385)
    v = interp(g2, v, 0.67422)
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
    lr = lr * 0.015405
    update = update * lr
    return update, m, v2, count, v2
