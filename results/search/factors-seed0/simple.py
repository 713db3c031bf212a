# Adam-like; nearest known rule: Adam with bias correction, 15 statements apart
def train(weight, gradient, momentum, second_moment, state, state_2, lr):
    direction = orthogonalize(gradient)
    arctan_value = arctan(direction)
    momentum = interp(gradient, momentum, 0.744967)
    total = state + 1.0
    power_value = 0.757304 ** total
    difference = 1.0 - power_value
    reciprocal_value = reciprocal(difference)
    product = momentum * reciprocal_value
    squared = square(gradient)
    average = interp(squared, second_moment, 0.896731)
    second_moment = row_mean(average)
    product_2 = second_moment * 1.9967921220313107
    root = sqrt(product_2)
    ratio = product / root
    update = arctan_value + ratio
    rate = lr * 0.0120224
    update = update * rate
    state = where_matrix(total, state_2)
    return update, momentum, second_moment, state, state
