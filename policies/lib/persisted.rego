# METADATA
# description: What files set at the next boot, compared with the kernel's live values.
package lib.persisted

import data.lib.node

read if input.persisted.known

gap := node.gap("persisted sysctl settings", input.persisted)

evidence(a) := [{
	"kind": "file",
	"name": sprintf("%s:%d", [a.file, a.line]),
	"value": sprintf("%s = %s", [a.key, a.value]),
}]

# Values as sysctl compares them: white space does not count.
normal(value) := concat(" ", regex.split(`\s+`, trim_space(value)))

# The live value is what the file says. The kernel rounds the number of buckets up.
same(a) if normal(a.value) == normal(input.sysctl[a.key].value)

same(a) if {
	endswith(a.key, ".nf_conntrack_buckets")
	regex.match(`^[0-9]{1,15}$`, trim_space(a.value))
	node.number(a.key) >= to_number(trim_space(a.value))
}

# A switch that is written as on.
on(a) if not normal(a.value) in {"0", ""}
