"""A plan as code: the type that records are decoded to, and the function that maps them."""
