"""How the contract suite speaks to each queue: one module each, also imported by that queue's worker."""
