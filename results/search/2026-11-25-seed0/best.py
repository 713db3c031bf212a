# The discovered rule, tuned for each task, beats tuned AdamW and constants only on fresh seeds
# and test data (-2.7 % loss [-3.4, -2.0] against tuned AdamW; -2.0 % loss [-2.7, -1.3] against
# constants only). As in best.py, one setting for all tasks: +0.2 % loss [-0.4, +0.9] against
# tuned AdamW. Held out, letters_cnn: -0.3 % loss [-1.8, +1.3] against tuned AdamW. Here it has
# one setting for all tasks; tuned for each: best_mnist_mlp.py, best_mnist_vit.py,
# best_python_transformer.py, best_letters_cnn.py.
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
    return update, m, v, count
