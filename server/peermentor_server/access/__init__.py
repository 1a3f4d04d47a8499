"""Who calls, and what they may do: keys, permissions, and the gate in front of every RPC."""
