# Adam-like; nearest known rule: Adam with bias correction, 17 statements apart
def train(weight, gradient, momentum, second_moment, state, lr):
    decay = weight * 0.255676
    average = interp(gradient, momentum, 0.405406)
    momentum = expm1(average)
    squared = square(gradient)
    second_moment = interp(squared, second_moment, 0.774456)
    product = lr * second_moment
    root = sqrt(product)
    ratio = momentum / root
    total = state + 0.37607
    power_value = 0.232231 ** total
    difference = 0.995029 - power_value
    reciprocal_value = reciprocal(difference)
    sin_value = sin(reciprocal_value)
    update = ratio * sin_value
    update = decay + update
    rate = lr * 0.0213204
    update = update * rate
    state = cosine_sim(total, 0.905811728247537)
    return update, momentum, second_moment, state
