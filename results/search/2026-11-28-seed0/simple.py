# Muon-like; nearest known rule: momentum SGD, 9 statements apart
def train(weight, gradient, momentum, lr):
    rate = lr * 0.00796939
    momentum = interp(gradient, momentum, 0.510565)
    root = sqrt(weight)
    masked = where(gradient, momentum, root)
    column_mean_value = column_mean(masked)
    ratio = momentum / column_mean_value
    update = orthogonalize(ratio)
    update = rate * update
    return update, momentum
