"""From a network and an order to a static list of steps, and what it costs."""
