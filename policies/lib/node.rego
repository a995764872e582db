# METADATA
# description: |
#   What holds for the whole node: conntrack's window checks, how severe an exposure is on this kernel, and what could not
#   be read.
package lib.node

be_liberal := "net.netfilter.nf_conntrack_tcp_be_liberal"

# OpenWrt's own key; 1 does what be_liberal does.
no_window_check := "net.netfilter.nf_conntrack_tcp_no_window_check"

loose := "net.netfilter.nf_conntrack_tcp_loose"

# Whether conntrack calls segments outside the window INVALID on this node: "off" with be_liberal=1, "on" without, "unknown"
# when the key could not be read. A key that is not there is not set.
window_checks := "off" if {
	liberal
} else := "off" if {
	input.sysctl[no_window_check].value == "1"
} else := "on" if {
	input.liberal.known
} else := "unknown"

liberal if {
	input.liberal.known
	input.liberal.value != 0
}

window_checks_evidence := text_sysctl(be_liberal, input.liberal) if {
	liberal
} else := [{"kind": "sysctl", "name": no_window_check, "value": "1"}] if {
	window_checks == "off"
} else := text_sysctl(be_liberal, input.liberal)

text_sysctl(key, fact) := [{"kind": "sysctl", "name": key, "value": sprintf("%d", [fact.value])}] if {
	fact.known
	not object.get(fact, "absent", false)
} else := []

window_checks_off := "be_liberal=1: no segment is INVALID for being outside the window, so replies are translated and nothing is reset" if {
	liberal
} else := "nf_conntrack_tcp_no_window_check=1: no segment is INVALID for being outside the window, so replies are translated and nothing is reset"

# This kernel ignores the stale segments that are common: known from its version, or measured by a proof on it, which decides
# where there is one.
mended if input.kernel.fix in {"partial", "full"}

# What an exposure costs on this kernel (kernel_fix): none, a stale segment kills a live connection; partial, since Linux 6.1
# only rarer segments do. A kernel whose fixes are not known counts as one that has none.
base_severity := "medium" if {
	mended
} else := "high"

# One step up when INVALID packets are being counted now; high is the top, critical is for a node about to lose its network.
exposure_severity := "high" if {
	invalid_active
} else := base_severity

kernel_evidence := note_evidence(sprintf("kernel_fix %s%s", [input.kernel.fix, how]), input.kernel.fixWhy)

how := ", measured" if {
	input.kernel.measured
} else := ""

note_evidence(name, value) := [{"kind": "note", "name": name, "value": value}]

# INVALID packets are being counted: any between two readings, or at least one a minute since boot.
invalid_active if {
	input.conntrack.sampled
	invalid_count > 0
}

invalid_active if {
	not input.conntrack.sampled
	input.kernel.uptimeSeconds.known
	input.kernel.uptimeSeconds.value > 0
	invalid_count * 60 >= input.kernel.uptimeSeconds.value
}

invalid_count := input.conntrack.deltas.value.invalid if {
	input.conntrack.deltas.known
}

invalid_evidence := [{"kind": "counter", "name": sprintf("conntrack invalid, %s", [span]), "value": sprintf("%d", [invalid_count])}] if {
	invalid_active
} else := []

# What a counter's difference is over, in words.
span := sprintf("in %v s", [round(input.conntrack.intervalSeconds * 10) / 10]) if {
	input.conntrack.sampled
} else := "since boot"

# What a fact lacks, as {"why", "hint"}; the fact may be missing altogether.
gap(what, fact) := {
	"why": sprintf("%s: %s", [what, object.get(fact, "why", "not collected")]),
	"hint": object.get(fact, "hint", ""),
}

# What could not be read by a collector, as gaps.
unread(collector) := [{"why": sprintf("%s: %s", [m.what, m.why]), "hint": m.hint} |
	some m in input.missing
	m.collector == collector
]

# One sentence and one hint for several gaps: the first two by name, for the report lists them all.
why(gaps) := concat("; ", [g.why | some g in gaps]) if {
	count(gaps) <= 2
} else := sprintf("%s; %s; and %d more", [gaps[0].why, gaps[1].why, count(gaps) - 2])

default_hint := "run as root in the node's own network namespace, and see what could not be read at the end of the report"

hint(gaps) := concat("; ", hints) if {
	hints := {g.hint | some g in gaps; g.hint != ""}
	count(hints) > 0
} else := default_hint

# A live key as a number; not defined where it is not there, not read, or not a number.
number(key) := to_number(text) if {
	input.sysctl[key].known
	text := trim_space(input.sysctl[key].value)
	regex.match(`^-?[0-9]{1,15}$`, text)
}

numeric(key) if is_number(number(key))

absent(key) if input.sysctl[key].absent

# What a key lacks.
key_gap(key) := gap(key, object.get(input.sysctl, key, {}))
