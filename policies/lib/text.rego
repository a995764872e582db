# METADATA
# description: How rules, families and lists are written in messages and evidence.
package lib.text

family := {"ip": "ipv4", "ip6": "ipv6"}

protocol := {"ip": "IPv4", "ip6": "IPv6"}

# Where a rule stands: "iptables-nft ip filter INPUT".
place(rule) := sprintf("%s %s %s %s", [rule.backend, rule.family, rule.table, rule.chain])

# A rule, or a base chain's policy, as part of a sentence.
rule(ref) := sprintf("rule %d of %s (%s)", [ref.number, place(ref), short(ref.text)]) if {
	ref.number > 0
} else := sprintf("the policy of %s (%s)", [place(ref), object.get(ref, "policy", ref.text)])

# A text that fits into a sentence; evidence has it whole.
short(s) := s if {
	count(s) <= 120
} else := sprintf("%s ...", [substring(s, 0, 116)])

rule_evidence(null) := []

rule_evidence(ref) := [{
	"kind": "rule",
	"name": name(ref),
	"value": value(ref),
}] if {
	ref != null
}

name(ref) := sprintf("%s rule %d", [place(ref), ref.number]) if {
	ref.number > 0
} else := sprintf("%s policy", [place(ref)])

value(ref) := ref.text if {
	ref.text != ""
} else := object.get(ref, "policy", "")

counter(counter_name, n) := [{
	"kind": "counter",
	"name": counter_name,
	"value": sprintf("%v", [n]),
}]

# "a, b, c and 4 more": at most five of a list.
some_of(list) := concat(", ", list) if {
	count(list) <= 5
} else := sprintf("%s and %d more", [concat(", ", array.slice(list, 0, 5)), count(list) - 5])

# " and 2 more rules there", or nothing.
others(n, thing) := "" if {
	n <= 1
} else := sprintf(" (and 1 more %s)", [thing]) if {
	n == 2
} else := sprintf(" (and %d more %ss)", [n - 1, thing])

# Whether two references name one rule.
same(a, b) if {
	a.backend == b.backend
	a.family == b.family
	a.table == b.table
	a.chain == b.chain
	a.number == b.number
}
