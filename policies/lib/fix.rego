# METADATA
# description: |
#   Commands that drop INVALID packets where both questions are covered: a filter hook of PREROUTING after conntrack (-200) and
#   before NAT (-100). Never raw: before conntrack every packet is INVALID.
package lib.fix

import data.lib.node

# The commands for a family, in the language of the rules that decide now (ref may be null).
drop_invalid(f, ref) := nft(f) if {
	backend(f, ref) == "nftables"
} else := iptables(f)

backend(_, ref) := ref.backend if {
	ref != null
}

backend(f, null) := input.snat[f].value[0].rule.backend

nft(f) := concat("\n", [
	sprintf("nft add table %s ctaudit", [f]),
	sprintf("nft add chain %s ctaudit prerouting '{ type filter hook prerouting priority -150; policy accept; }'", [f]),
	sprintf("nft add rule %s ctaudit prerouting ct state invalid counter drop", [f]),
])

command := {"ip": "iptables", "ip6": "ip6tables"}

iptables(f) := sprintf("%s -t mangle -I PREROUTING -m conntrack --ctstate INVALID -j DROP", [command[f]])

# The commands that take a rule away: by its number, or by its handle in native nft.
delete(ref) := sprintf("nft delete rule %s %s %s handle %d", [ref.family, quoted(ref.table), quoted(ref.chain), ref.handle]) if {
	ref.backend == "nftables"
	object.get(ref, "handle", 0) > 0
} else := sprintf("%s -t %s -D %s %d", [tool(ref), quoted(ref.table), quoted(ref.chain), ref.number]) if {
	ref.backend != "nftables"
} else := ""

# The tool that owns the rule's backend.
tool(ref) := sprintf("%s%s", [command[ref.family], trim_prefix(ref.backend, "iptables")])

# A name as one word of shell; whoever named a chain does not get to run commands.
quoted(name) := name if {
	regex.match(`^[A-Za-z0-9_.:/-]+$`, name)
} else := sprintf("'%s'", [replace(name, "'", `'\''`)])

sysctl(key, value) := sprintf("sysctl -w %s=%v", [key, value])

be_liberal := sysctl(node.be_liberal, 1)

lines(parts) := concat("\n", [p | some p in parts; p != ""])
