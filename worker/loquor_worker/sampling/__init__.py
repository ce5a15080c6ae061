"""How the next token is picked from a model's logits: many rows at once, each as its sequence asks.

The order, for each row: penalties, bias, what is barred, then temperature, `top_k`, `top_p`, `min_p` and one draw.
Nothing here knows a model, a cache or which sequence runs when.
"""
