# METADATA
# description: The counters of conntrack and TCP, as differences over two readings or totals since boot.
package lib.counters

import data.lib.node

read if input.conntrack.deltas.known

# A counter of the kernel's; not defined where the kernel has none of the name.
value(name) := input.conntrack.deltas.value[name] if read

missing := node.gap("conntrack's counters", input.conntrack.deltas)

# Since boot a total proves little; between two readings it happens now.
severity(now) := now if {
	input.conntrack.sampled
} else := "low"

resample := "take two readings: ctaudit scan --sample 10s"
