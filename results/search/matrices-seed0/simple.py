# Adam-like; nearest known rule: momentum SGD, 23 statements apart
def train(weight, gradient, momentum, second_moment, state, lr):
    momentum = interp(gradient, momentum, 0.399242)
    product = momentum * 2.5752388343307127
    by_role = where_matrix(0.04557291064913534, state)
    total = by_role + 1.0
    power_value = 0.850113 ** total
    squared = square(gradient)
    by_role_2 = where_matrix(power_value, squared)
    by_role_3 = where_matrix(by_role_2, squared)
    difference = 1.0 - by_role_3
    reciprocal_value = reciprocal(difference)
    average = interp(squared, second_moment, 0.845418)
    product_2 = reciprocal_value * average
    root = sqrt(product_2)
    ratio = product / root
    decay = weight * 0.0578593
    total_2 = ratio + decay
    direction = orthogonalize(total_2)
    by_role_4 = where_matrix(direction, total_2)
    arctan_value = arctan(by_role_4)
    update = where_matrix(arctan_value, by_role_4)
    rate = lr * 0.0239171
    update = update * rate
    second_moment = column_mean(average)
    state = rms(weight)
    return update, momentum, second_moment, state
