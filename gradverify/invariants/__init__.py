"""Properties that right gradients have whatever the function's derivative is: no oracle is needed to check them.

An invariant is a generator like a check, ``(bench) -> Iterator[Measurement]``, and is registered with

``ops``      names of ops of the catalogue that it can speak about; ``()`` for every op
``applies``  ``(case) -> bool``: whether it speaks about this very case (a batch of one cannot be permuted)

Budgets come from the dtype and from the size of the terms that are summed, see ``_tools.allowed``.
"""
