//! What Actions does: commands, queries and the loops of a node.
