import jax
import jax.numpy as jnp

print("fitting on", jax.devices()[0].platform, flush=True)
x = jnp.linspace(-1.0, 1.0, 64)
y = 3.0 * x + 0.5


@jax.jit
def step(weights):
    slope, offset = weights
    loss, grads = jax.value_and_grad(lambda w: jnp.mean((w[0] * x + w[1] - y) ** 2))((slope, offset))
    return (slope - 0.2 * grads[0], offset - 0.2 * grads[1]), loss


weights = (0.0, 0.0)
for _ in range(200):
    weights, loss = step(weights)
print(f"slope {weights[0]:.3f} offset {weights[1]:.3f}")
