"""Deep or shallow: families and controls at equal budgets, and what may be said of them."""
