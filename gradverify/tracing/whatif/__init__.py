"""Counterfactual backprop: a recorded forward differentiated with one rule of its backward replaced.

Every hypothesis is one backward pass over the same graph with hooks on some of its nodes; the forward never runs again.

==========  ================================================================================
graph       the nodes, who uses what, and the pass with hooks
sites       which line of the user's code made a node
edits       what an edit is; edits of the same line are made together, then one by one
paths       a way to a primal is cut (missing terms, or counted with a wrong factor)
matrices    a factor of a matrix product transposed, left out, or of the neighbouring layer
products    a factor left out, applied twice, or moved
unary       a derivative left out, at the wrong point, of the neighbouring layer; masks
softmaxes   the softmax entry by entry, or twice
axes        sums over, and broadcasts along, the wrong axis; indices that overwrite each other
moves       reshapes for transposes, Fortran order, a maximum that every entry gets
replaced    a primal enters backward transposed, flipped, or as its neighbour
==========  ================================================================================
"""

from gradverify.tracing.whatif.edits import Played, hypotheses
from gradverify.tracing.whatif.graph import Network
from gradverify.tracing.whatif.replaced import Retrace, replacements
from gradverify.tracing.whatif.sites import Mark, marked

__all__ = ["Mark", "Network", "Played", "Retrace", "hypotheses", "marked", "replacements"]
