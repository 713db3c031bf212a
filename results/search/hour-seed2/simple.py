# Ortho-momentum with beta = 0.51918, weight decay 0.3, learning rate 0.0121286
def train(weight, gradient, momentum, lr):
    momentum = interp(gradient, momentum, 0.51918)
    update = orthogonalize(momentum)
    decay = weight * 0.3
    update = update + decay
    update = update * 0.0121285887912
    update = lr * update
    return update, momentum
