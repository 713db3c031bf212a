# The rule of best.py tuned for mnist_mlp: learning rate, decay, averages and schedule, on its
# validation data (search of 4747 programs, 256 a task). On fresh seeds and its test data: -10.2 %
# loss [-11.3, -9.0] against tuned AdamW. Schedule: warm-up over 4.3 % of the steps, then the half
# cosine to the power 0.829, ending at 0.225 of the peak.
def train(w, g, m, v, count, lr):
    g2 = square(g)
    g2 = where_matrix(g2, g2)
    m = interp(g, m, 0.695653)
    v = interp(g2, v, 0.929808)
    count = count + 2.54344
    w = arctan(w)
    t1 = 0.695653 ** count
    t2 = 1.0 - t1
    scale_m = reciprocal(t2)
    scale_v = reciprocal(-0.480324)
    t5 = v * scale_v
    sqrt_v = sqrt(t5)
    t6 = m * scale_m
    sqrt_v = column_rms(sqrt_v)
    update = t6 / sqrt_v
    wd = w * 0.0195861
    update = update + wd
    lr = lr * 0.00439639
    update = orthogonalize(update)
    update = update * lr
    return update, m, v, count
